"""Spider's four hardness levels, for any SELECT.

Queries inside Spider's own grammar are counted on its trees, which gives the official level exactly, oddities
included (a negated condition counts as an aggregate). Everything else (CTE, CASE, window functions) is counted by
the same rules in :mod:`sqleval.outline`.
"""

from functools import lru_cache
from typing import Literal

from sqleval.grammar import parse
from sqleval.names import GrammarError
from sqleval.outline import outline
from sqleval.tree import Condition, Conditions, Query

Hardness = Literal["easy", "medium", "hard", "extra"]


@lru_cache(maxsize=65536)
def hardness(sql: str) -> Hardness:
    """Level of a SQL text. Text that no parser reads is ``extra``."""
    try:
        return query_hardness(parse(sql))
    except GrammarError:
        return level(*outline(sql))


def query_hardness(query: Query) -> Hardness:
    """Level of a tree of Spider's grammar."""
    return level(_clauses(query), len(_nested(query)), _others(query))


def level(clauses: int, nested: int, others: int) -> Hardness:
    """Spider's table from counts to levels: clauses and joins, nested queries, and "many of something" marks."""
    if nested == 0:
        if clauses <= 1 and others == 0:
            return "easy"
        if (others <= 2 and clauses <= 1) or (clauses <= 2 and others < 2):
            return "medium"
        if (others > 2 and clauses <= 2) or (clauses == 3 and others <= 2):
            return "hard"
    if clauses <= 1 and others == 0 and nested <= 1:
        return "hard"
    return "extra"


def _all_conditions(query: Query) -> tuple[list[Condition], list[object]]:
    groups: tuple[Conditions, ...] = (query.joins, query.where, query.having)
    units = [unit for group in groups for unit in group[::2] if isinstance(unit, Condition)]
    return units, [word for group in groups for word in group[1::2]]


def _clauses(query: Query) -> int:
    units, words = _all_conditions(query)
    present = (query.where, query.group_by, query.order_by, query.limited)
    joins = max(len(query.tables) - 1, 0)
    return sum(map(bool, present)) + joins + words.count("or") + sum(u.operator == "like" for u in units)


def _nested(query: Query) -> list[Query]:
    units, _ = _all_conditions(query)
    values = [value for unit in units for value in (unit.low, unit.high)]
    return [q for q in (*values, query.intersect, query.except_, query.union) if isinstance(q, Query)]


def _others(query: Query) -> int:
    aggregates = sum(aggregate != "none" for aggregate, _ in query.select)
    # Officially the first field of a condition is its negation, and a connective's first letter counts as well.
    aggregates += sum(isinstance(unit, Condition) and unit.negated for unit in query.where[::2])
    aggregates += sum(not isinstance(unit, Condition) or unit.negated for unit in query.having)
    aggregates += sum(column.aggregate != "none" for column in query.group_by)
    terms = query.order_by[1] if query.order_by else ()
    aggregates += sum(c is not None and c.aggregate != "none" for t in terms for c in (t.left, t.right))
    return (aggregates > 1) + (len(query.select) > 1) + (len(query.where) > 1) + (len(query.group_by) > 1)
