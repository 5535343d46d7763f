"""Draws what a question is about: tables that keys join, and conditions on them with values that are stored.

Guards: no "not" over columns with NULLs, which would leave those rows out silently; no condition that holds by chance.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from text2sql.synth.meaning import Condition, Place, Query, Term, Value
from text2sql.synth.profile import ColumnProfile, DatabaseProfile, Join, TableProfile
from text2sql.synth.words import ends_with

Option = TypeVar("Option")
_STEPS = {"": 55, "u": 16, "d": 12, "du": 9, "uu": 4, "dd": 3}
_CONDITIONS = (0.32, 0.52, 0.16)
_KINDS: dict[str, dict[str, float]] = {
    "date": {"after": 2, "before": 2, "between": 0.7, "year": 1.5},
    "time": {"after": 2, "before": 2, "eq": 1},
    "flag": {"yes": 1, "no": 1},
    "number": {"gt": 3, "lt": 3, "ge": 1.2, "le": 1, "between": 1.2, "eq": 1.5, "not_between": 0.3},
    "text": {
        "eq": 8,
        "in": 0.8,
        "starts": 0.5,
        "contains": 1,
        "ends": 0.2,
        "ne": 1,
        "not_in": 0.4,
        "not_contains": 0.4,
    },
}
_REFUSED_WITH_NULLS = {"ne", "not_in", "not_contains", "not_between", "no"}


class NoFitError(Exception):
    """The database has nothing that fits, or the drawn values do not; draw another."""


class Subjects:
    """Draws places and conditions of one database."""

    def __init__(self, database: DatabaseProfile, rng: random.Random) -> None:
        self.database, self.rng = database, rng
        self.tables = [table for table in database.tables.values() if table.columns]
        self.down: dict[str, list[Join]] = {}
        self.up: dict[str, list[Join]] = {}
        for join in database.joins:
            self.up.setdefault(join.child, []).append(join)
            self.down.setdefault(join.parent, []).append(join)

    def _pick(self, options: Sequence[Option]) -> Option:
        if not options:
            raise NoFitError
        return self.rng.choice(options)

    def _column(self, table: TableProfile, role: str, taken: Sequence[ColumnProfile | None] = ()) -> ColumnProfile:
        known = {column.name for column in taken if column is not None}
        return self._pick([column for column in table.columns if role in column.roles and column.name not in known])

    def _places(self, steps: str | None = None) -> tuple[Place, ...]:
        """A table, and those joined to it: up to a parent, down to a child, or several steps; a linking table lies between."""
        drawn = self.rng.choices(list(_STEPS), list(_STEPS.values()))[0] if steps is None else steps
        places = [Place(self._pick(self.tables))]
        for step in drawn:
            before = places[-1].table.name
            known = {place.table.name for place in places}
            joins = (self.up if step == "u" else self.down).get(before, [])
            fitting = [j for j in joins if step == "u" or j.child != j.parent]
            join = self._pick(fitting)
            name = join.parent if step == "u" else join.child
            if name in known and not (name == before and len(drawn) == 1):
                raise NoFitError
            places.append(Place(self.database.tables[name], join, step == "u"))
        if not places[-1].table.columns:
            raise NoFitError
        return tuple(places)

    def _body(self, steps: str | None = None, most: int = 2) -> Query:
        """Places and conditions without anything asked; what is joined has a condition, or it would not matter."""
        places, rng = self._places(steps), self.rng
        count = min(most, rng.choices(range(3), _CONDITIONS)[0])
        where: list[Condition] = []
        if len(places) > 1 and most:
            where.append(self._condition(places, len(places) - 1))
            count = min(count, most) - 1
        for _ in range(count):
            place = rng.randrange(len(places)) if len(places) == 2 else 0
            where.append(self._condition(places, place, [c.term.column for c in where]))
        either = len(where) == 2 and len(places) == 1 and rng.random() < 0.25
        if either and where[0].kind == "eq" and rng.random() < 0.6:
            where[1] = self._another(where[0])
        return Query(places, (), tuple(where), either)

    def _condition(
        self, places: Sequence[Place], place: int, taken: Sequence[ColumnProfile | None] = (), nested: bool = True
    ) -> Condition:
        rng, table = self.rng, places[place].table
        if nested and place == 0 and rng.random() < 0.2:
            return self._nested(places)
        column = self._column(table, "label", taken)
        kinds = next((dict(_KINDS[role]) for role in _KINDS if role in column.roles), {})
        if column.has_nulls:
            kinds = {kind: weight for kind, weight in kinds.items() if kind not in _REFUSED_WITH_NULLS}
            kinds |= {"missing": 0.5, "known": 0.3}
        if not kinds or not column.values:
            raise NoFitError
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        return Condition(kind, Term(place, column), self._values(kind, column))

    def _values(self, kind: str, column: ColumnProfile) -> tuple[Value, ...]:
        value, other = self.rng.choice(column.values), self.rng.choice(column.values)
        if kind in ("missing", "known", "yes", "no"):
            return ()
        if kind in ("between", "not_between", "in", "not_in"):
            if value == other:
                raise NoFitError
            return tuple(sorted((value, other))) if "between" in kind else (value, other)
        if kind == "year":
            return (str(value)[:4],)
        if kind in ("starts", "contains", "ends", "not_contains"):
            return (self._part(str(value), kind),)
        return (value,)

    def _part(self, value: str, kind: str) -> str:
        """A whole word of a longer value, as people search for it, else a piece of the word."""
        words = [word for word in value.split() if len(word) >= 3 and word.isalnum()]
        if "contains" in kind and len(value.split()) > 1 and words:
            return self.rng.choice(words)
        if len(value) < 4 or not value.isalpha():
            raise NoFitError
        length = self.rng.randint(1, 3)
        if kind != "contains" and kind != "not_contains":
            return value[:length] if kind == "starts" else value[-length:]
        start = self.rng.randint(1, len(value) - 3)
        return value[start : start + 3]

    def _nested(self, places: Sequence[Place]) -> Condition:
        table = places[0].table
        joins = [join for join in self.down.get(table.name, []) if join.child != table.name]
        if len(places) == 1 and joins and self.rng.random() < 0.6:
            join = self._pick(joins)
            child = self.database.tables[join.child]
            key, ref = _named(child, join.key), _named(table, join.ref)
            inner = self._referring(child, join)
            where: tuple[Condition, ...] = ()
            if inner[-1].table.columns and self.rng.random() < 0.5:
                where = (self._condition(inner, len(inner) - 1, nested=False),)
            elif len(inner) == 2:
                inner = (replace(inner[0], said=inner[1].table),)
            kind = "lacks" if self.rng.random() < 0.65 else "has"
            return Condition(kind, Term(0, ref), inner=Query(inner, (Term(0, key),), where))
        column = self._column(table, "number")
        kind = self._pick(("average_above", "average_above", "average_below", "highest", "lowest"))
        if kind.startswith("average") and ends_with(column.name, "points"):
            raise NoFitError
        return Condition(kind, Term(0, column))

    def _referring(self, child: TableProfile, join: Join) -> tuple[Place, ...]:
        """The table that refers to a row, and what it links the row with where it has nothing else to say."""
        others = [
            other for other in self.up.get(child.name, []) if other.key != join.key and other.parent != join.parent
        ]
        if child.columns or len(others) != 1:
            return (Place(child, join),)
        return Place(child, join), Place(self.database.tables[others[0].parent], others[0], up=True)

    def _another(self, condition: Condition) -> Condition:
        """The same comparison with another stored value."""
        column = condition.term.column
        values = [value for value in column.values if value not in condition.values] if column else []
        return replace(condition, values=(self._pick(values),))


def _named(table: TableProfile, name: str) -> ColumnProfile:
    """A column of the table, key or not."""
    for column in (*table.keys, *table.columns):
        if column.name.lower() == name.lower():
            return column
    raise NoFitError
