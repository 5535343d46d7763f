"""Trees of Spider's SQL subset: plain frozen dataclasses that compare by value."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column with the aggregate around it. ``name`` is ``table.column`` or ``*``; ``distinct`` None means ignored."""

    aggregate: str
    name: str
    distinct: bool | None


@dataclass(frozen=True)
class Term:
    """One or two columns joined by an arithmetic operator (``none`` for one column)."""

    operator: str
    left: Column
    right: Column | None


@dataclass(frozen=True)
class Condition:
    """``term [not] operator low [and high]``; a value is a nested query, or a number, string or column that counts."""

    negated: bool
    operator: str
    term: Term
    low: object
    high: object


# Conditions and their connectives, in the order written: officially the even places are read as conditions.
Conditions = tuple[Condition | str, ...]


@dataclass(frozen=True)
class Query:
    """One SELECT with its set operations. ``tables`` holds table names and nested queries of FROM."""

    select: tuple[tuple[str, Term], ...]
    distinct: bool | None
    tables: tuple["str | Query", ...]
    joins: Conditions
    where: Conditions
    group_by: tuple[Column, ...]
    having: Conditions
    order_by: tuple[str, tuple[Term, ...]] | None
    limited: bool
    intersect: "Query | None"
    union: "Query | None"
    except_: "Query | None"

    @property
    def conditions(self) -> list[Condition]:
        """All conditions of joins, WHERE and HAVING."""
        groups = (self.joins, self.where, self.having)
        return [unit for group in groups for unit in group[::2] if isinstance(unit, Condition)]

    @property
    def connectives(self) -> list[object]:
        """What is read as the connectives between them."""
        return [*self.joins[1::2], *self.where[1::2], *self.having[1::2]]


EMPTY = Query((), False, (), (), (), (), (), None, False, None, None, None)
