"""Binding for users' databases, which have unusual names, several keys to one parent, and values that are hard to quote."""

import random
import re
import sqlite3
from dataclasses import dataclass, replace

from text2sql.schema import quote
from text2sql.synth.bind import Binder, Bound, NoBindingError, Noun, Value
from text2sql.synth.grammar import Language, Pattern, read_yaml
from text2sql.synth.profile import ColumnProfile, DatabaseProfile, Join, TableProfile, plural, singular, split_words

_EXTRA_CONDITIONS = 0.2
_LONGEST_VALUE = 60
_ASK_INSIDE = re.compile(r", (?:List|Show|Find|Give|Return|What|Can|Please|Tell) ")
_HAN = "\u3400-\u9fff\u3000-\u303f\uff00-\uffef"
_BETWEEN_HAN = re.compile(f"(?<=[{_HAN}]) (?=[{_HAN}])")
_JOINT = re.compile(r" (?:in|of|on|at|for|by|to|with|from) ")
_NAMES = {kind: tuple(words.split()) for kind, words in read_yaml("slots.yaml")["names"].items()}
_AGGREGATED = re.compile(r"\b(sum|avg)\((?:T\d\.)?([^()]+)\)")
_LOWEST = re.compile(r" ORDER BY (?:T\d\.)?(\S+|\".*?\") ASC LIMIT ")


@dataclass(frozen=True)
class OwnColumn(ColumnProfile):
    """A column whose name stands in quotes where it could be read as words of the question."""

    @property
    def words(self) -> str:
        words = split_words(self.name) or self.name
        first = words.partition(" ")[0]
        return f'"{words}"' if first in _NAMES["verbs"] or words in _NAMES["read_otherwise"] else words


@dataclass(frozen=True)
class OwnNoun(Noun):
    """A table's name in words; ``by``: the key that is used, where several refer to the same parent (winner, loser)."""

    by: str = ""

    def __format__(self, spec: str) -> str:
        if self.name.isascii() and split_words(self.name).partition(" ")[0] in _NAMES["verbs"]:
            kept = f'"{split_words(self.name)}"'
            words = kept if self.code != "en" else f"{kept} record" + "s" * (spec != "one")
        else:
            words = self._counted(spec) if self.code == "en" and self.name.isascii() else split_words(self.name)
        if not self.by:
            return words
        return f"{words} (by {self.by})" if self.code == "en" else f"{words}（按 {self.by}）"

    def _counted(self, spec: str) -> str:
        """Singular or plural, by rule; of words joined by a preposition the first are inflected ("singers in concert")."""
        words = split_words(self.name)
        joint = _JOINT.search(words)
        head, rest = (words[: joint.start()], words[joint.start() :]) if joint else (words, "")
        if head.rpartition(" ")[2] in _NAMES["uncounted"]:
            return words
        return (singular(head) if spec == "one" else plural(head)) + rest


class OwnBinder(Binder):
    """A binder with more conditions (years, negations) that refuses aggregates which make no sense on real data."""

    def __init__(self, database: DatabaseProfile, language: Language, register: str, rng: random.Random) -> None:
        super().__init__(database, language, register, rng)
        columns = [column for table in database.tables.values() for column in table.columns]
        self.names = {c.sql: c.name for c in columns}
        self.nullable = {c.sql for c in columns if c.has_nulls}

    def bind(self, pattern: Pattern) -> Bound:
        """As :meth:`Binder.bind`; no sums of years, and no lowest value where a missing one would come first."""
        bound = super().bind(pattern)
        for function, name in _AGGREGATED.findall(bound.sql):
            column = self.names.get(name, "")
            if _ends(column, _NAMES["points"]) or (function == "sum" and _ends(column, _NAMES["shares"])):
                raise NoBindingError
        lowest = _LOWEST.search(bound.sql)
        if lowest and lowest[1] in self.nullable:
            raise NoBindingError
        return bound

    def _bind_tables(self, pattern: Pattern) -> tuple[dict[str, TableProfile], dict[str, str], dict[str, str | Noun]]:
        tables, sql, words = super()._bind_tables(pattern)
        for place, table in tables.items():
            words[place] = OwnNoun(table.name, self.language.code)
        ways = [("child", "mid", "fk"), ("mid", "parent", "fk2")] if "mid" in tables else [("child", "parent", "fk")]
        for child, parent, slot in ways if "child" in tables else ():
            ends = (tables[child].name, tables[parent].name)
            keys = {quote(join.key): join.key for join in self.database.joins if (join.child, join.parent) == ends}
            if len(keys) > 1:
                words[child] = OwnNoun(ends[0], self.language.code, split_words(keys[sql[slot]]))
        return tables, sql, words

    def _condition(self, column: ColumnProfile, prefix: str) -> tuple[str, str]:
        rng = self.rng
        if rng.random() > _EXTRA_CONDITIONS:
            return super()._condition(column, prefix)
        value, other = rng.choice(column.values), rng.choice(column.values)
        if "date" in column.roles:
            kind, value = "year", str(value)[:4]
        elif "number" in column.roles:
            kind = "not_between"
        else:
            kind = "not_in" if rng.random() < 0.5 else "not_contains"
        return self._compare(kind, column, prefix + column.sql, value, other)

    def _part(self, value: str, kind: str) -> str:
        """A whole word of a longer value, as people search for it, else a piece of the word."""
        words = [word for word in value.split() if len(word) >= 3 and word.isalpha()]
        if kind == "contains" and len(value.split()) > 1 and words:
            return self.rng.choice(words)
        return super()._part(value, kind)

    def _mention(self, value: Value) -> str:
        """In quotes where its end is hard to see, without quotes where it contains one."""
        if not isinstance(value, str) or "'" in value:
            return str(value)
        is_plain = len(value.split()) <= 2 and value.replace(" ", "").isalnum()
        return super()._mention(value) if is_plain else f"'{value}'"

    def _sentence(self, text: str) -> str:
        text = _ASK_INSIDE.sub(lambda found: found[0].lower(), super()._sentence(text))
        return text if self.language.code == "en" else _BETWEEN_HAN.sub("", text)


def own_profile(connection: sqlite3.Connection, profile: DatabaseProfile) -> DatabaseProfile:
    """The profile with values that a question can quote, numbers that are quantities, and joins to one row of the parent.

    A key of several columns, and one to a column that repeats, is left out: joining by it would count rows twice.
    """
    tables = {
        name: TableProfile(table.name, tuple(_own_column(column) for column in table.columns))
        for name, table in profile.tables.items()
    }
    joins = tuple(join for join in dict.fromkeys(profile.joins) if _is_sound(connection, join))
    return replace(profile, tables=tables, joins=joins)


def _own_column(column: ColumnProfile) -> OwnColumn:
    values = tuple(value for value in column.values if _can_quote(value))
    roles = column.roles if values else column.roles & {"label"}
    if _ends(column.name, _NAMES["identifiers"]):
        roles -= {"number"}
    return OwnColumn(column.name, roles, values, column.has_nulls)


def _ends(name: str, words: tuple[str, ...]) -> bool:
    """Whether the name's last word is one of these; a Chinese name, which has no spaces, ends with one of them."""
    last = split_words(name).rpartition(" ")[2]
    return last in words or (not last.isascii() and last.endswith(words))


def _can_quote(value: Value) -> bool:
    """Whether a question can quote it as it is: one line, no outer spaces, not too long."""
    if not isinstance(value, str):
        return value == value and abs(value) < 1e15
    return 0 < len(value) <= _LONGEST_VALUE and value == " ".join(value.split()) and "\ufffd" not in value


def _is_sound(connection: sqlite3.Connection, join: Join) -> bool:
    several = connection.execute(
        'SELECT 1 FROM pragma_foreign_key_list(?) AS k WHERE "from" = ? AND EXISTS '
        "(SELECT 1 FROM pragma_foreign_key_list(?) WHERE id = k.id AND seq > 0)",
        (join.child, join.key, join.child),
    ).fetchone()
    ref, parent = quote(join.ref), quote(join.parent)
    counted = f"SELECT count({ref}) = count(DISTINCT {ref}) FROM {parent}"
    return several is None and bool(connection.execute(counted).fetchone()[0])
