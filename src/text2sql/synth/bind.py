"""Binding a pattern's slots to a database: every slot gets a SQL side and a side in words."""

import random
from dataclasses import dataclass

from text2sql.schema import quote
from text2sql.synth.grammar import Language, Pattern
from text2sql.synth.profile import ColumnProfile, DatabaseProfile, TableProfile, plural, singular, split_words

_WORD_SLOTS: dict[str, tuple[tuple[str, str], ...]] = {  # role -> (SQL, word) choices
    "agg": (("avg", "avg"), ("max", "max"), ("min", "min"), ("sum", "sum")),
    "direction": (("DESC", "desc"), ("ASC", "asc")),
    "extreme": (("DESC", "top"), ("ASC", "bottom")),
    "peak": (("max", "max"), ("min", "min")),
    "most": (("DESC", "most"), ("ASC", "fewest")),
    "many": (("DESC", "most"),),
    "than": ((">", "above"), ("<", "below")),
}
_NUMERALS = {2: "two", 3: "three", 4: "four", 5: "five"}
_COMPARISONS = {"eq": "=", "ne": "!=", "gt": ">", "lt": "<", "ge": ">=", "le": "<=", "after": ">", "before": "<"}


class NoBindingError(Exception):
    """The database has nothing that fits the pattern, or this draw went wrong; draw another."""


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
    """A question with its SQL."""

    question: str
    sql: str


class Binder:
    """Draws bindings of patterns for one database, language and register."""

    def __init__(self, database: DatabaseProfile, language: Language, register: str, rng: random.Random) -> None:
        self.database, self.language, self.register, self.rng = database, language, register, rng

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
            if role in _WORD_SLOTS:
                taken = {sql[s] for s, k in pattern.slots.items() if k == kind and s in sql}
                sql[slot], word = self.rng.choice([c for c in _WORD_SLOTS[role] if c[0] not in taken])
                words[slot] = self._word(word)
            elif role in ("count", "small"):
                number = self.rng.randint(2, 5 if role == "count" else 3)
                sql[slot] = str(number)
                spelled = self.language.code == "en" and self.register != "plain" and self.rng.random() < 0.5
                words[slot] = _NUMERALS[number] if spelled else str(number)
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
        return Bound(self._sentence(question), pattern.sql.format_map(sql))

    def _bind_tables(self, pattern: Pattern) -> tuple[dict[str, TableProfile], dict[str, str], dict[str, str | Noun]]:
        tables: dict[str, TableProfile] = {}
        sql: dict[str, str] = {}
        if pattern.tables == "one":
            names = {"t": self.rng.choice(list(self.database.tables))}
        else:
            joins = self.database.joins
            chains = [(a, b) for a in joins for b in joins if a.parent == b.child and b.parent != a.child]
            if not (chains if pattern.tables == "chain" else joins):
                raise NoBindingError
            if pattern.tables == "chain":
                first, second = self.rng.choice(chains)
                names = {"child": first.child, "mid": first.parent, "parent": second.parent}
                sql |= {"fk2": quote(second.key), "pk2": quote(second.ref)}
            else:
                first = self.rng.choice(joins)
                names = {"child": first.child, "parent": first.parent}
            sql |= {"fk": quote(first.key), "pk": quote(first.ref)}
        words: dict[str, str | Noun] = {}
        for place, name in names.items():
            tables[place] = self.database.tables[name]
            sql[place] = quote(name)
            words[place] = Noun(name, self.language.code)
        return tables, sql, words

    def _column(self, table: TableProfile, role: str, used: set[tuple[str, str]]) -> ColumnProfile:
        wanted = [c for c in table.with_role("label" if role == "cond" else role) if (table.name, c.name) not in used]
        if role == "cond":
            wanted = [c for c in wanted if c.roles & {"text", "number", "date"}]
        if not wanted:
            raise NoBindingError
        column = self.rng.choice(wanted)
        used.add((table.name, column.name))
        return column

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
        value, other = rng.choice(column.values), rng.choice(column.values)
        if kind == "between":
            value, other = sorted((value, other))
        if kind in ("between", "in") and value == other:
            raise NoBindingError
        if kind in ("starts", "contains"):
            value = self._part(str(value), kind)
            sql = f"{name} LIKE '{value}%'" if kind == "starts" else f"{name} LIKE '%{value}%'"
        elif kind in ("missing", "known"):
            sql = name + (" IS NULL" if kind == "missing" else " IS NOT NULL")
        elif kind == "between":
            sql = f"{name} BETWEEN {literal(value)} AND {literal(other)}"
        elif kind == "in":
            sql = f"{name} IN ({literal(value)}, {literal(other)})"
        else:
            sql = f"{name} {_COMPARISONS[kind]} {literal(value)}"
        phrase = self.language.choose(self.language.conditions[kind], self.register, rng)
        return sql, phrase.format(c=column.words, v=self._mention(value), v2=self._mention(other))

    def _part(self, value: str, kind: str) -> str:
        if len(value) < 4 or not value.isalpha():
            raise NoBindingError
        if kind == "starts":
            return value[: self.rng.randint(1, 3)]
        start = self.rng.randint(1, len(value) - 3)
        return value[start : start + 3]

    def _mention(self, value: str | int | float) -> str:
        quoted = isinstance(value, str) and self.register != "plain" and self.rng.random() < 0.4
        return f"'{value}'" if quoted else str(value)

    def _word(self, word: str) -> str:
        return self.language.choose(self.language.words[word], self.register, self.rng)

    def _sentence(self, text: str) -> str:
        """Grammar's small change: no "the the", a capital first letter unless plain, one final mark."""
        text = " ".join(text.replace("the the ", "the ").split())
        if self.register == "plain":
            return text
        text = text.replace(", What are the", ", what are the").replace(", What is the", ", what is the")
        last = text[:-1].rpartition("? ")[2]
        asks = (
            last.startswith(("What", "Which", "How", "Can")) or ", what" in last or ", how" in last or ", which" in last
        )
        if text[-1] in ".?":
            text = text[:-1] + ("?" if asks else ".")
        return text[0].upper() + text[1:] if self.language.code == "en" else text


def literal(value: str | int | float) -> str:
    """``value`` as a SQL literal."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
