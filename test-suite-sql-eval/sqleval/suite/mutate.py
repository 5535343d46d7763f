"""Neighbours of a query: one small change each, the mistakes that models make."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_AGGREGATES = (exp.Sum, exp.Avg, exp.Min, exp.Max, exp.Count)
_SETS = (exp.Union, exp.Intersect, exp.Except)
_OPTIONAL_CLAUSES = ("where", "group", "having", "order", "limit")


def neighbours(sql: str) -> list[str]:
    """Different SQL texts, each one change away; empty for text that sqlglot does not read."""
    try:
        tree = sqlglot.parse_one(sql, read="sqlite")
    except SqlglotError:
        return []
    texts = dict.fromkeys(changed.sql(dialect="sqlite") for changed in _changed(tree))
    texts.pop(tree.sql(dialect="sqlite"), None)
    return list(texts)


def _changed(tree: Any) -> Iterator[Any]:
    """Copies of a tree, each with one change; a node is found again in a copy by its place in the walk."""
    for place, node in enumerate(tree.walk()):
        for new in _replacements(node):
            if node is tree:
                yield new
            else:
                copy, found = _copy(tree, place)
                found.replace(new)
                yield copy
        for key, value in _settings(node):
            copy, found = _copy(tree, place)
            found.set(key, value)
            yield copy


def _copy(tree: Any, place: int) -> tuple[Any, Any]:
    copy = tree.copy()
    return copy, next(islice(copy.walk(), place, None))


def _settings(node: Any) -> Iterator[tuple[str, Any]]:
    """Arguments of ``node`` that may have another value."""
    if isinstance(node, exp.Select | exp.SetOperation):
        yield from ((clause, None) for clause in _OPTIONAL_CLAUSES if node.args.get(clause))
    if isinstance(node, exp.Join) and node.args.get("on"):
        yield "side", "LEFT"
    if isinstance(node, exp.Ordered):
        yield "desc", not node.args.get("desc")


def _replacements(node: Any) -> Iterator[Any]:
    """Nodes that may stand in the place of ``node``."""
    if isinstance(node, _COMPARISONS):
        yield from (kind(**_sides(node)) for kind in _COMPARISONS if kind is not type(node))
    elif isinstance(node, exp.And | exp.Or):
        yield (exp.Or if isinstance(node, exp.And) else exp.And)(**_sides(node))
        yield from (node.this.copy(), node.expression.copy())
    elif isinstance(node, _AGGREGATES):
        if not isinstance(node.this, exp.Star | exp.Distinct):
            yield from (kind(this=node.this.copy()) for kind in _AGGREGATES if kind is not type(node))
            if isinstance(node, exp.Count):
                yield exp.Count(this=exp.Distinct(expressions=[node.this.copy()]))
        elif isinstance(node.this, exp.Distinct):
            yield exp.Count(this=node.this.expressions[0].copy())
    elif isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit():
        yield from (exp.Literal.number(int(node.this) + step) for step in (1, -1))
    elif isinstance(node, exp.Not):
        yield node.this.copy()
    elif isinstance(node, _SETS):
        yield from (kind(**_sides(node), distinct=True) for kind in _SETS if kind is not type(node))
        yield node.this.copy()
    elif isinstance(node, exp.Between):
        yield exp.GTE(this=node.this.copy(), expression=node.args["low"].copy())


def _sides(node: Any) -> dict[str, Any]:
    return {"this": node.this.copy(), "expression": node.expression.copy()}
