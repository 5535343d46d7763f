"""Binds a pattern's slots to a database: every slot gets a part of the SQL and a part of the question."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from text2sql.schema import quote
from text2sql.synth.grammar import Language, Pattern, read_yaml
from text2sql.synth.profile import ColumnProfile, DatabaseProfile, TableProfile
from text2sql.synth.words import plural, singular, split_words

_SLOTS = read_yaml("slots.yaml")
Value = str | int | float
Option = TypeVar("Option")


class NoBindingError(Exception):
    """The database has nothing that fits the pattern, or the drawn values do not fit; draw another."""


@dataclass(frozen=True)
class Noun:
    """A table's name in words; ``{t}`` is its plural and ``{t:one}`` its singular."""

    name: str
    code: str

    def __format__(self, spec: str) -> str:
        words = split_words(self.name)
        if self.code != "en":
            return words
        return singular(words) if spec == "one" else plural(words)


@dataclass(frozen=True)
class Bound:
    """A question with its SQL, and the pattern, language and register that it was drawn from."""

    question: str
    sql: str
    pattern: str
    language: str
    register: str


class Binder:
    """Draws bindings of patterns for one database, language and register."""

    def __init__(self, database: DatabaseProfile, language: Language, register: str, rng: random.Random) -> None:
        self.database, self.language, self.register, self.rng = database, language, register, rng

    def draw(self, pattern: Pattern) -> Bound | None:
        """As :meth:`bind`; None where nothing fits."""
        try:
            return self.bind(pattern)
        except NoBindingError:
            return None

    def bind(self, pattern: Pattern) -> Bound:
        """Fill the pattern's SQL and one of its phrasings.

        Raises:
            NoBindingError: nothing fits.
        """
        tables, sql, words = self._bind_tables(pattern)
        aliases = {"child": "T1.", "mid": "T2.", "parent": "T3." if "mid" in tables else "T2."}
        used: set[tuple[str, str]] = set()
        for slot, kind in pattern.slots.items():
            role, _, place = kind.partition("@")
            if role in _SLOTS["words"]:
                taken = {sql[s] for s, k in pattern.slots.items() if k == kind and s in sql}
                sql[slot], word = self.rng.choice([c for c in _SLOTS["words"][role] if c[0] not in taken])
                words[slot] = self._word(word)
            elif role in ("count", "small"):
                number = self.rng.randint(2, 5 if role == "count" else 3)
                sql[slot] = str(number)
                spelled = self.language.code == "en" and self.register != "plain" and self.rng.random() < 0.5
                words[slot] = _SLOTS["numerals"][number] if spelled else str(number)
            else:
                place = place or "t"
                prefix = aliases.get(place, "") if " AS T1 " in pattern.sql else ""
                column = self._column(tables[place], role, used)
                if role == "cond":
                    sql[slot], words[slot] = self._condition(column, prefix)
                else:
                    sql[slot], words[slot] = column.sql, column.words
        phrase = self.language.choose(self.language.patterns[pattern.name], self.register, self.rng, strict=True)
        question = phrase.format_map({**words, "ask": self._word("ask")})
        text, query = self._sentence(question), pattern.sql.format_map(sql)
        return Bound(text, query, pattern.name, self.language.code, self.register)

    def _bind_tables(self, pattern: Pattern) -> tuple[dict[str, TableProfile], dict[str, str], dict[str, str | Noun]]:
        tables: dict[str, TableProfile] = {}
        sql: dict[str, str] = {}
        joins = self.database.joins
        if pattern.tables == "one":
            names = {"t": self.rng.choice(list(self.database.tables))}
        elif pattern.tables == "pair":
            first = self._pick(joins)
            names = {"child": first.child, "parent": first.parent}
        else:
            chains = [(a, b) for a in joins for b in joins if a.parent == b.child and b.parent != a.child]
            first, second = self._pick(chains)
            names = {"child": first.child, "mid": first.parent, "parent": second.parent}
            sql |= {"fk2": quote(second.key), "pk2": quote(second.ref)}
        if pattern.tables != "one":
            sql |= {"fk": quote(first.key), "pk": quote(first.ref)}
        words: dict[str, str | Noun] = {}
        for place, name in names.items():
            tables[place] = self.database.tables[name]
            sql[place] = quote(name)
            words[place] = Noun(name, self.language.code)
        return tables, sql, words

    def _column(self, table: TableProfile, role: str, used: set[tuple[str, str]]) -> ColumnProfile:
        wanted = [c for c in table.columns if ("label" if role == "cond" else role) in c.roles]
        wanted = [c for c in wanted if role != "cond" or c.roles & {"text", "number", "date"}]
        column = self._pick([c for c in wanted if (table.name, c.name) not in used])
        used.add((table.name, column.name))
        return column

    def _pick(self, options: Sequence[Option]) -> Option:
        if not options:
            raise NoBindingError
        return self.rng.choice(options)

    def _condition(self, column: ColumnProfile, prefix: str) -> tuple[str, str]:
        rng, name = self.rng, prefix + column.sql
        kinds = {"missing": 0.7, "known": 0.5} if column.has_nulls else {}
        if "number" in column.roles:
            kinds |= {"gt": 3, "lt": 3, "ge": 1, "le": 1, "between": 1.5, "eq": 1}
        elif "date" in column.roles:
            kinds |= {"after": 2, "before": 2, "between": 0.7}
        else:
            kinds |= {"eq": 6, "ne": 1.2, "in": 1, "starts": 0.6, "contains": 0.6}
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        return self._compare(kind, column, name, rng.choice(column.values), rng.choice(column.values))

    def _compare(self, kind: str, column: ColumnProfile, name: str, value: Value, other: Value) -> tuple[str, str]:
        """A condition's SQL, in which the column is called ``name``, and its words."""
        if kind in ("between", "not_between"):
            value, other = sorted((value, other))
        if kind in ("between", "not_between", "in", "not_in") and value == other:
            raise NoBindingError
        if kind in ("starts", "contains", "not_contains"):
            value = self._part(str(value), kind.removeprefix("not_"))
        sql = _SLOTS["conditions"][kind].format(c=name, v=value, q=_literal(value), q2=_literal(other))
        phrase = self.language.choose(self.language.conditions[kind], self.register, self.rng)
        shown = str(value) if kind == "year" else self._mention(value)
        return sql, phrase.format(c=column.words, v=shown, v2=self._mention(other))

    def _part(self, value: str, kind: str) -> str:
        if len(value) < 4 or not value.isalpha():
            raise NoBindingError
        if kind == "starts":
            return value[: self.rng.randint(1, 3)]
        start = self.rng.randint(1, len(value) - 3)
        return value[start : start + 3]

    def _mention(self, value: Value) -> str:
        quoted = isinstance(value, str) and self.register != "plain" and self.rng.random() < 0.4
        return f"'{value}'" if quoted else str(value)

    def _word(self, word: str) -> str:
        return self.language.choose(self.language.words[word], self.register, self.rng)

    def _sentence(self, text: str) -> str:
        """Mend what phrasings leave when joined: a doubled "the", the first letter's case, the mark at the end."""
        text = " ".join(text.replace("the the ", "the ").split())
        if self.register == "plain":
            return text
        text = text.replace(", What are the", ", what are the").replace(", What is the", ", what is the")
        last = text[:-1].rpartition("? ")[2]
        asks = last.startswith(("What", "Which", "How", "Can")) or any(
            f", {w}" in last for w in ("what", "how", "which")
        )
        if text[-1] in ".?":
            text = text[:-1] + ("?" if asks else ".")
        return text[0].upper() + text[1:] if self.language.code == "en" else text


def _literal(value: Value) -> str:
    """``value`` as a SQL literal."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
