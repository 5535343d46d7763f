"""Neighbours of a query: one small change each, the mistakes that models make."""

from collections.abc import Callable, Iterator
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
    found: dict[str, None] = {}
    for change in _changes(tree):
        text = change(tree.copy()).sql(dialect="sqlite")
        if text != tree.sql(dialect="sqlite"):
            found[text] = None
    return list(found)


def _changes(tree: Any) -> Iterator[Callable[[Any], Any]]:
    """Functions that give a changed tree for a copy of this one; nodes are found again by their place in the walk."""
    for place, node in enumerate(tree.walk()):
        for new in _replacements(node):
            yield _replacing(place, new)
        for clause in _OPTIONAL_CLAUSES:
            if isinstance(node, exp.Select | exp.SetOperation) and node.args.get(clause):
                yield _setting(place, clause, None)
        if isinstance(node, exp.Join) and node.args.get("on"):
            yield _setting(place, "side", "LEFT")
        if isinstance(node, exp.Ordered):
            yield _setting(place, "desc", not node.args.get("desc"))


def _replacements(node: Any) -> Iterator[Any]:
    """Nodes that may stand in the place of ``node``."""
    if isinstance(node, _COMPARISONS):
        yield from (
            kind(this=node.this.copy(), expression=node.expression.copy())
            for kind in _COMPARISONS
            if kind is not type(node)
        )
    elif isinstance(node, exp.And | exp.Or):
        other = exp.Or if isinstance(node, exp.And) else exp.And
        yield other(this=node.this.copy(), expression=node.expression.copy())
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
        parts = {"this": node.this.copy(), "expression": node.expression.copy()}
        yield from (kind(**parts, distinct=True) for kind in _SETS if kind is not type(node))
        yield node.this.copy()
    elif isinstance(node, exp.Between):
        yield exp.GTE(this=node.this.copy(), expression=node.args["low"].copy())


def _at(tree: Any, place: int) -> Any:
    return next(node for number, node in enumerate(tree.walk()) if number == place)


def _replacing(place: int, new: Any) -> Callable[[Any], Any]:
    def change(tree: Any) -> Any:
        node = _at(tree, place)
        if node is tree:
            return new.copy()
        node.replace(new.copy())
        return tree

    return change


def _setting(place: int, key: str, value: Any) -> Callable[[Any], Any]:
    def change(tree: Any) -> Any:
        _at(tree, place).set(key, value)
        return tree

    return change
