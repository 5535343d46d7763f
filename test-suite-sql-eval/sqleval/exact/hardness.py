"""Spider's four hardness levels, for any SELECT.

Queries inside Spider's own grammar are counted on its trees, which gives the official level exactly, oddities
included (a negated condition counts as an aggregate). Everything else (CTE, CASE, window functions) is counted by
the same rules in :mod:`sqleval.exact.outline`.
"""

from functools import lru_cache
from typing import Literal

from sqleval.exact.grammar import parse
from sqleval.exact.outline import outline
from sqleval.exact.tree import Condition, Query
from sqleval.exact.words import GrammarError

Hardness = Literal["easy", "medium", "hard", "extra"]


@lru_cache(maxsize=65536)
def hardness(sql: str) -> Hardness:
    """Level of a SQL text. Text that no parser reads is ``extra``."""
    try:
        query = parse(sql)
    except GrammarError:
        return level(*outline(sql))
    return level(_clauses(query), _nested(query), _others(query))


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


def _clauses(query: Query) -> int:
    present = (query.where, query.group_by, query.order_by, query.limited)
    joins = max(len(query.tables) - 1, 0)
    likes = sum(condition.operator == "like" for condition in query.conditions)
    return sum(map(bool, present)) + joins + query.connectives.count("or") + likes


def _nested(query: Query) -> int:
    values = [value for condition in query.conditions for value in (condition.low, condition.high)]
    return sum(isinstance(found, Query) for found in (*values, query.intersect, query.except_, query.union))


def _others(query: Query) -> int:
    aggregates = sum(aggregate != "none" for aggregate, _ in query.select)
    # Officially the first field of a condition is its negation, and a connective's first letter counts as well.
    aggregates += sum(isinstance(unit, Condition) and unit.negated for unit in query.where[::2])
    aggregates += sum(not isinstance(unit, Condition) or unit.negated for unit in query.having)
    aggregates += sum(column.aggregate != "none" for column in query.group_by)
    terms = query.order_by[1] if query.order_by else ()
    aggregates += sum(c is not None and c.aggregate != "none" for t in terms for c in (t.left, t.right))
    return (aggregates > 1) + (len(query.select) > 1) + (len(query.where) > 1) + (len(query.group_by) > 1)
