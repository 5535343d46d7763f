"""Spider's four hardness levels, for any SELECT.

Queries inside Spider's own grammar are counted on its trees, which gives the official level exactly, oddities
included (a negated condition counts as an aggregate). Everything else (CTE, CASE, window functions) is counted by the
same rules on tokens: a preparation asks for the level of every row, and a syntax tree costs three times as much.
"""

from collections import Counter
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any, Literal

from sqleval.exact.grammar import parse
from sqleval.exact.query import Condition, GrammarError, Query

_AGGREGATES = frozenset(("count", "sum", "avg", "min", "max", "total", "group_concat", "string_agg"))
_SETS = frozenset(("UNION", "INTERSECT", "EXCEPT"))
_CLAUSES = frozenset(("SELECT", "FROM", "WHERE", "GROUP_BY", "HAVING", "ORDER_BY", "LIMIT"))
_CLOSING = frozenset(("ORDER_BY", "LIMIT"))
_MARKS = frozenset(("OR", "LIKE", "CASE", "OVER"))
UNREADABLE = (99, 99, 99)


@cache
def _tokenize() -> Any:
    from sqlglot.dialects.sqlite import SQLite

    return SQLite().tokenize


def outline(sql: str) -> tuple[int, int, int]:
    """Clauses and joins, nested queries, and "many of something" marks; :data:`UNREADABLE` for what is no SELECT."""
    from sqlglot.errors import SqlglotError

    try:
        tokens = [(token.token_type.name, token.text) for token in _tokenize()(sql)]
    except SqlglotError:
        return UNREADABLE
    opened = accumulate((kind == "L_PAREN") - (kind == "R_PAREN") for kind, _ in tokens)
    # How many brackets are open at each token; a bracket itself counts as outside.
    depths = [depth - (kind == "L_PAREN") for depth, (kind, _) in zip(opened, tokens, strict=True)]
    base = min((depth for depth, (kind, _) in zip(depths, tokens, strict=True) if kind == "SELECT"), default=None)
    if base is None or tokens[0][0] not in ("SELECT", "WITH", "L_PAREN"):
        return UNREADABLE
    own, nested = _own(tokens, depths, base)
    seen = _count(own, base)
    clauses = sum(seen[kind] > 0 for kind in ("WHERE", "GROUP_BY", "ORDER_BY", "LIMIT"))
    clauses += seen["JOIN"] + seen["FROM ,"] + sum(seen[kind] for kind in _MARKS)
    many = (seen["aggregate"] > 1, seen["SELECT ,"] > 0, seen["condition"] > 0, seen["GROUP_BY ,"] > 0)
    return clauses, nested, sum(many)


def _own(tokens: list[tuple[str, str]], depths: list[int], base: int) -> tuple[list[tuple[int, str, str]], int]:
    """Tokens of the first query outside its nested ones (of later members of a set operation only what closes the
    whole), and the number of nested queries and set operations."""
    own: list[tuple[int, str, str]] = []
    nested, inside, later = 0, base, False
    for depth, (kind, text) in zip(depths, tokens, strict=True):
        if inside > base and depth >= inside:
            continue
        inside = base
        if depth == base and kind in _SETS:
            nested, later = nested + 1, True
        elif later:
            if depth == base and kind in _CLOSING:
                own.append((depth, kind, text))
        elif kind == "SELECT" and depth > base:
            nested, inside = nested + 1, depth
        else:
            own.append((depth, kind, text))
    return own, nested


def _count(own: list[tuple[int, str, str]], base: int) -> Counter[str]:
    """How often each construct occurs; ``X ,`` are commas of clause X, ``condition`` are connectives of WHERE."""
    seen: Counter[str] = Counter()
    clause, ranges = "", 0
    for place, (depth, kind, text) in enumerate(own):
        if depth == base and kind in _CLAUSES:
            clause = kind
        if kind in _MARKS or (depth == base and (kind in _CLAUSES or kind == "JOIN")):
            seen[kind] += 1
        elif kind == "COMMA" and depth == base:
            seen[f"{clause} ,"] += 1
        elif text.lower() in _AGGREGATES and [k for _, k, _ in own[place + 1 : place + 2]] == ["L_PAREN"]:
            seen["aggregate"] += 1
        ranges += kind == "BETWEEN"
        if clause == "WHERE" and kind in ("AND", "OR"):
            seen["condition"] += kind == "OR" or not ranges
            ranges -= kind == "AND" and ranges > 0
    return seen


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
