"""Counts what hardness is made of in queries outside Spider's grammar (CTE, CASE, window functions, ordinals).

From the tokens, not from a syntax tree: a preparation asks for the level of every row, and a tree costs three times as
much. sqlglot is loaded only when needed, because importing it takes longer than most evaluations.
"""

from collections import Counter
from functools import cache
from itertools import accumulate
from typing import Any

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
