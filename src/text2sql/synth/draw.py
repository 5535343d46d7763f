"""Draws meanings that fit a database: what is asked, about which tables, under which conditions, each chosen on its own.

Guards: no arithmetic on codes, flags and years; no lowest value where a missing one would come first; no join that would
count a row twice, or miss those without any.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from text2sql.synth.meaning import Condition, Place, Query, Term
from text2sql.synth.profile import DatabaseProfile, TableProfile
from text2sql.synth.subjects import NoFitError, Subjects
from text2sql.synth.words import ends_with


class Drawer(Subjects):
    """Draws meanings for one database."""

    def __init__(self, database: DatabaseProfile, rng: random.Random) -> None:
        super().__init__(database, rng)
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
        body = self._body() if self.rng.random() < 0.2 else self._body("", most=self.rng.random() < 0.4)
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
            if key is None or (
                len(places) == 3 and (places[1].table.key is not None or len(places[1].table.columns) > 1)
            ):
                raise NoFitError  # only a linking table has a row for each of what it links
            body = Query(places, (), by_row=True, group=Term(0, key))
            if most and rng.random() < 0.2:
                body = replace(body, where=(self._condition(places, len(places) - 1),))
            return body
        body = self._body(steps="", most=most if rng.random() < 0.25 else 0)
        if any(c.kind in ("highest", "lowest") for c in body.where):
            raise NoFitError
        return replace(
            body, group=Term(0, self._column(body.places[0].table, "group", [c.term.column for c in body.where]))
        )

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
        matched = self._condition(places, last, nested=False)
        second = () if last and kind == "EXCEPT" and rng.random() < 0.5 else (matched,)
        other = Query(places, items, second)
        if kind == "EXCEPT" and (last or rng.random() < 0.4):
            return Query(places[:1], items, combine=kind, other=other)
        both = kind == "INTERSECT" and matched.kind == "eq" and rng.random() < 0.6
        first = self._another(matched) if both else self._condition(places, last, nested=False)
        is_same = first.term == matched.term
        if is_same and (first.kind != "eq" or matched.kind != "eq" or first.values == matched.values):
            raise NoFitError  # what two ranges of one column have in common is one range
        return Query(places, items, (first,), combine=kind, other=other)


def _is_idle(query: Query) -> bool:
    """Whether it asks for what it says itself: the column that a condition fixes, or an order of equal values."""
    told = [term for term in (*query.items, query.order, query.group) if term is not None and term.column is not None]
    fixed = [c.term.column for c in query.where if c.kind in ("eq", "highest", "lowest", "missing", "yes", "no")]
    if not query.either and any(term.column in fixed for term in told):
        return True
    if len(told) == 1 and any(c.kind in ("in", "not_in") and c.term.column == told[0].column for c in query.where):
        return True
    compared = [c.term.column for c in query.where]
    if any(item.function and item.column is not None and item.column in compared for item in query.items):
        return True
    either = [c.term.column for part in (query, query.other) if part is not None for c in part.where]
    return bool(query.combine) and len(query.items) == 1 and query.items[0].column in either
