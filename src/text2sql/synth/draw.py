"""Draws meanings that fit a database: what is asked, about which tables, under which conditions, each chosen on its own.

Guards: no arithmetic on codes, flags and years; no "not" over columns with NULLs, which would leave those rows out silently; no
lowest value where a missing one would come first.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from text2sql.synth.meaning import Condition, Place, Query, Term, Value
from text2sql.synth.profile import ColumnProfile, DatabaseProfile, Join, TableProfile
from text2sql.synth.words import ends_with

Option = TypeVar("Option")
_STEPS = {"": 55, "u": 16, "d": 12, "du": 9, "uu": 4, "dd": 3}
_CONDITIONS = (0.32, 0.52, 0.16)
_KINDS = {
    "date": {"after": 2, "before": 2, "between": 0.7, "year": 1.5},
    "time": {"after": 2, "before": 2, "eq": 1},
    "flag": {"yes": 1, "no": 1},
    "number": {"gt": 3, "lt": 3, "ge": 1.2, "le": 1, "between": 1.2, "eq": 1.5, "not_between": 0.3},
    "text": {"eq": 8, "in": 0.8, "starts": 0.5, "contains": 1, "ends": 0.2, "ne": 1, "not_in": 0.4, "not_contains": 0.4},
}
_REFUSED_WITH_NULLS = {"ne", "not_in", "not_contains", "not_between", "no"}


class NoFitError(Exception):
    """The database has nothing that fits, or the drawn values do not; draw another."""


class Drawer:
    """Draws meanings for one database."""

    def __init__(self, database: DatabaseProfile, rng: random.Random) -> None:
        self.database, self.rng = database, rng
        self.tables = [table for table in database.tables.values() if table.columns]
        self.down: dict[str, list[Join]] = {}
        self.up: dict[str, list[Join]] = {}
        for join in database.joins:
            self.up.setdefault(join.child, []).append(join)
            self.down.setdefault(join.parent, []).append(join)
        self.kinds: dict[Callable[[], Query], float] = {
            self._list: 27, self._sort: 9, self._top: 13, self._count: 16, self._aggregate: 9, self._group: 10,
            self._most: 8, self._having: 8, self._combine: 8,
        }  # fmt: skip

    def draw(self) -> Query | None:
        """A meaning, or None where the choices do not fit the database."""
        if not self.tables:
            return None
        try:
            query = self.rng.choices(list(self.kinds), list(self.kinds.values()))[0]()
        except NoFitError:
            return None
        return None if _is_idle(query) else query

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
            values = self._pick([v for v in where[0].term.column.values if v != where[0].values[0]])  # type: ignore[union-attr]
            where[1] = replace(where[0], values=(values,))
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
            return tuple(sorted((value, other))) if "between" in kind else (value, other)  # type: ignore[type-var]
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
            inner = (Place(child, join),)
            where = (self._condition(inner, 0, nested=False),) if child.columns and self.rng.random() < 0.5 else ()
            kind = "lacks" if self.rng.random() < 0.65 else "has"
            return Condition(kind, Term(0, ref), inner=Query(inner, (Term(0, key),), where))
        column = self._column(table, "number")
        kind = self._pick(("average_above", "average_above", "average_below", "highest", "lowest"))
        if kind.startswith("average") and ends_with(column.name, "points"):
            raise NoFitError
        return Condition(kind, Term(0, column))

    def _items(self, places: Sequence[Place], most: int = 3) -> tuple[Term, ...]:
        """Columns of what is asked about, sometimes its key, sometimes one of what is joined."""
        rng, table = self.rng, places[0].table
        known = [*table.columns, *(table.keys if rng.random() < 0.25 else ())]
        count = min(len(known), rng.choices((1, 2, 3), (6, 3.5, 1.5))[0], most)
        items = [Term(0, column) for column in rng.sample(known, count)]
        if len(places) == 2 and places[1].up and count < 3 and rng.random() < 0.3:
            items.append(Term(1, self._column(places[1].table, "label")))
        return tuple(items)

    def _list(self) -> Query:
        if self.rng.random() < 0.06:
            places = self._places("u")
            items = (*self._items(places[:1], 2), Term(1, self._column(places[1].table, "label")))
            return Query(places, items)
        body = self._body()
        items = self._items(body.places)
        repeats = all("group" in item.column.roles for item in items if item.column)
        return replace(body, items=items, distinct=repeats and self.rng.random() < 0.5)

    def _sort(self) -> Query:
        body = self._body(most=1 if self.rng.random() < 0.4 else 0, steps="" if self.rng.random() < 0.8 else None)
        role = self.rng.choices(("number", "date", "text"), (6, 2, 2.5))[0]
        order = Term(0, self._column(body.places[0].table, role))
        items = self._items(body.places)
        return replace(body, items=items, order=order, descending=self.rng.random() < (0.3 if role == "text" else 0.6))

    def _top(self) -> Query:
        body = self._body(most=1 if self.rng.random() < 0.35 else 0, steps=self._pick(("", "", "", "u", "d")))
        table, descending = body.places[-1].table if not body.where else body.places[0].table, self.rng.random() < 0.65
        column = self._column(table, "number" if self.rng.random() < 0.75 else "date")
        if column.has_nulls and not descending:
            raise NoFitError
        place = len(body.places) - 1 if not body.where else 0
        limit = 1 if place or self.rng.random() < 0.7 else self.rng.randint(2, 5)
        items = self._items(body.places[:1])
        return replace(body, items=items, order=Term(place, column), descending=descending, limit=limit)

    def _count(self) -> Query:
        rng = self.rng
        if rng.random() < 0.3:
            body = self._body(most=1)
            column = self._column(body.places[0].table, "group" if rng.random() < 0.7 else "text")
            return replace(body, items=(Term(0, column, "count", distinct=True),))
        return replace(self._body(), items=(Term(0, None, "count"),))

    def _aggregates(self, table: TableProfile, place: int = 0, most: int = 3) -> tuple[Term, ...]:
        rng, column = self.rng, self._column(table, "number")
        functions = ["max", "min"]
        if not ends_with(column.name, "points"):
            functions += ["avg"] + ["sum"] * (not ends_with(column.name, "shares"))
        count = min(most, len(functions), rng.choices((1, 2, 3), (7, 2.5, 0.8))[0])
        return tuple(Term(place, column, function) for function in rng.sample(functions, count))

    def _aggregate(self) -> Query:
        body = self._body()
        if any(not place.up for place in body.places[1:]):
            raise NoFitError  # a figure would count once for every joined row
        items = self._aggregates(body.places[0].table)
        more = (Term(0, None, "count"),) if self.rng.random() < 0.1 else ()
        return replace(body, items=(*more, *items))

    def _groups(self, most: int = 1) -> Query:
        """Rows grouped by a column of theirs or of their parent, or by the parents themselves."""
        rng = self.rng
        if rng.random() < 0.5:
            places = self._places(rng.choices(("d", "du"), (4, 1))[0])
            key = places[0].table.key
            if key is None or (len(places) == 3 and (places[1].table.key is not None or len(places[1].table.columns) > 1)):
                raise NoFitError  # only a linking table has a row for each of what it links
            body = Query(places, (), by_row=True, group=Term(0, key))
            if most and rng.random() < 0.2:
                body = replace(body, where=(self._condition(places, len(places) - 1),))
            return body
        body = self._body(steps="", most=most if rng.random() < 0.25 else 0)
        if any(c.kind in ("highest", "lowest") for c in body.where):
            raise NoFitError
        return replace(body, group=Term(0, self._column(body.places[0].table, "group", [c.term.column for c in body.where])))

    def _told(self, body: Query) -> tuple[Term, ...]:
        assert body.group is not None
        return self._items(body.places[:1], 2) if body.by_row else (body.group,)

    def _figures(self, body: Query) -> tuple[Term, ...]:
        figures: tuple[Term, ...] = (Term(0, None, "count"),)
        draw = self.rng.random()
        if draw < 0.4:
            place = len(body.places) - 1
            figures = (*figures[: draw < 0.08], *self._aggregates(body.places[place].table, place, 2))
        return figures

    def _group(self) -> Query:
        body = self._groups()
        figures = self._figures(body)
        made = replace(body, items=(*self._told(body), *figures))
        if self.rng.random() < 0.2 and len(figures) == 1:
            made = replace(made, order=figures[0], descending=self.rng.random() < 0.7)
        return made

    def _most(self) -> Query:
        body = self._groups()
        figure = Term(0, None, "count")
        if self.rng.random() < 0.2:
            figure = self._aggregates(body.places[-1].table, len(body.places) - 1, 1)[0]
        is_count = figure.function == "count"
        items = self._told(body) + ((figure,) if self.rng.random() < 0.25 else ())
        descending = self.rng.random() < 0.75
        if not descending and body.by_row and body.places[1].join and not body.places[1].join.whole:
            raise NoFitError  # a join does not see those without any, which have fewest
        limit = 1 if self.rng.random() < 0.8 or not is_count else self.rng.randint(2, 4)
        return replace(body, items=items, order=figure, descending=descending, limit=limit)

    def _having(self) -> Query:
        body, rng = self._groups(), self.rng
        items = self._told(body) + ((Term(0, None, "count"),) if rng.random() < 0.25 else ())
        if rng.random() < 0.75:
            kind = rng.choices(("ge", "gt", "lt", "le", "eq"), (4, 4, 1.5, 0.7, 1))[0]
            if kind in ("lt", "le") and body.by_row and body.places[1].join and not body.places[1].join.whole:
                raise NoFitError
            return replace(body, items=items, having=Condition(kind, Term(0, None, "count"), (rng.randint(2, 6),)))
        term = self._aggregates(body.places[-1].table, len(body.places) - 1, 1)[0]
        assert term.column is not None
        value = rng.choice(term.column.values)
        kind = self._pick(("gt", "lt"))
        return replace(body, items=items, having=Condition(kind, term, (value,)))

    def _combine(self) -> Query:
        """Two lists of the same columns under different conditions; EXCEPT may begin with all."""
        rng = self.rng
        kind = rng.choices(("INTERSECT", "EXCEPT", "UNION"), (4, 4, 1.5))[0]
        places = self._places(rng.choices(("", "d", "du", "u"), (5, 3, 1, 0.6))[0])
        known = [*places[0].table.columns, *places[0].table.keys]
        items = tuple(Term(0, column) for column in rng.sample(known, min(len(known), rng.choices((1, 2), (4, 1))[0])))
        last = len(places) - 1
        second = () if last and kind == "EXCEPT" and rng.random() < 0.5 else (self._condition(places, last, nested=False),)
        other = Query(places, items, second)
        if kind == "EXCEPT" and (last or rng.random() < 0.4):
            return Query(places[:1], items, combine=kind, other=other)
        first = self._condition(places, last, nested=False)
        if kind == "INTERSECT" and second[0].kind == "eq" and rng.random() < 0.6:
            values = [value for value in second[0].term.column.values if value != second[0].values[0]]  # type: ignore[union-attr]
            first = replace(second[0], values=(self._pick(values),))
        if (first.kind, first.values, first.term) == (second[0].kind, second[0].values, second[0].term):
            raise NoFitError
        return Query(places, items, (first,), combine=kind, other=other)


def _is_idle(query: Query) -> bool:
    """Whether it asks for what it says itself: the column that a condition fixes, or an order of equal values."""
    fixed = [condition.term for condition in query.where if condition.kind in ("eq", "highest", "lowest", "missing")]
    if not query.either and any(term in fixed for term in (*query.items, query.order, query.group)):
        return True
    other = query.other.where if query.other is not None else ()
    fixed += [condition.term for condition in other if condition.kind in ("eq", "missing")]
    return bool(query.combine) and (len(query.items) == 1 and query.items[0] in fixed)


def _named(table: TableProfile, name: str) -> ColumnProfile:
    """A column of the table, key or not."""
    for column in (*table.keys, *table.columns):
        if column.name.lower() == name.lower():
            return column
    raise NoFitError
