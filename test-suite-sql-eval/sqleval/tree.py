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
    """``term [not] operator low [and high]``; a value is a number, a quoted string, a column or a nested query."""

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


EMPTY = Query((), False, (), (), (), (), (), None, False, None, None, None)
