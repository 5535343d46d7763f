"""What a question means, before it is SQL or a sentence: one tree from which :mod:`render` and :mod:`say` write both.

Place 0 is what the question is about; each further place is joined to the one before it.
"""

from dataclasses import dataclass, replace

from text2sql.synth.profile import ColumnProfile, Join, TableProfile

Value = str | int | float


@dataclass(frozen=True)
class Place:
    """A table in a query. ``join`` connects it with the place before; ``up``: that one refers to this one.

    ``said``: the table that a linking table stands for in words (pets, where a table says who has which pet).
    """

    table: TableProfile
    join: Join | None = None
    up: bool = False
    said: TableProfile | None = None


@dataclass(frozen=True)
class Term:
    """A column of a place, or its rows (no column), under an aggregate ``function`` if there is one."""

    place: int = 0
    column: ColumnProfile | None = None
    function: str = ""
    distinct: bool = False


@dataclass(frozen=True)
class Condition:
    """``kind`` is a key of ``conditions`` in ``slots.yaml``, or compares with a nested query.

    average_above, average_below, highest, lowest: with the column's figure over the whole table. has, lacks: whether rows of
    ``inner`` (its place 0, by that place's join) refer to this row.
    """

    kind: str
    term: Term
    values: tuple[Value, ...] = ()
    inner: "Query | None" = None


@dataclass(frozen=True)
class Query:
    """``by_row``: groups are rows of place 0, so its primary key groups. ``combine``: a set operation with ``other``."""

    places: tuple[Place, ...]
    items: tuple[Term, ...]
    where: tuple[Condition, ...] = ()
    either: bool = False
    group: Term | None = None
    by_row: bool = False
    having: Condition | None = None
    order: Term | None = None
    descending: bool = True
    limit: int = 0
    distinct: bool = False
    combine: str = ""
    other: "Query | None" = None

    @property
    def shape(self) -> str:
        """The pattern's name: what is asked, the joins' directions, the number of conditions, and nested queries."""
        steps = "".join("u" if place.up else "d" for place in self.places[1:])
        nested = sorted({c.kind.partition("_")[0] for c in self.where if c.kind in NESTED})
        parts = [self.asks, steps, f"w{len(self.where)}{'o' * self.either}" if self.where else "", *nested]
        return "-".join(part for part in parts if part)

    @property
    def asks(self) -> str:
        """The kind of question: list, distinct, count, aggregate, sort, top, group, most, having, or the set operation."""
        if self.combine:
            return self.combine.lower()
        if self.group is not None:
            return "most" if self.limit else "having" if self.having else "group"
        if self.limit:
            return "top"
        if any(item.function for item in self.items):
            return "count" if all(item.function == "count" for item in self.items) else "aggregate"
        return "sort" if self.order else "distinct" if self.distinct else "list"

    def counts_rows_twice(self) -> bool:
        """Whether a row of place 0 can stand in the result several times because of a join."""
        return self.group is None and any(not place.up for place in self.places[1:])

    def once(self) -> "Query":
        """The same with every row of place 0 counted once."""
        key = self.places[0].table.key
        if self.asks == "count" and key is not None and self.items[0].column is None:
            return replace(self, items=(Term(0, key, "count", distinct=True), *self.items[1:]))
        return replace(self, distinct=True)


NESTED = ("average_above", "average_below", "highest", "lowest", "has", "lacks")
