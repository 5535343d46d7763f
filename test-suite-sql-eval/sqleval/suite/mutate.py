"""Neighbours of a query: one small change each, the mistakes that models make."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlglot import exp

from sqleval.suite.hints import parsed

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_AGGREGATES = (exp.Sum, exp.Avg, exp.Min, exp.Max, exp.Count)
_SETS = (exp.Union, exp.Intersect, exp.Except)
Columns = Mapping[str, Sequence[str]]
Change = Any  # a node, or the name and value of an argument
_IDLE_COLUMNS = 3  # of a table
_OPTIONAL_CLAUSES = ("where", "group", "having", "order", "limit")


def neighbours(sql: str, columns: Columns | None = None, most: int | None = None) -> list[str]:
    """Different SQL texts, each one change away; empty for text that sqlglot does not read.

    With the schema's ``columns`` (by table, lower case), columns are also taken for the next of their table. Of more than
    ``most`` texts as many are kept, evenly spread over the query.
    """
    tree = parsed(sql)
    if tree is None:
        return []
    changes = list(_changes(tree, columns or {}))
    if most is not None and len(changes) > most:
        changes = [changes[i * len(changes) // most] for i in range(most)]
    texts = dict.fromkeys(_changed(tree, place, change).sql(dialect="sqlite") for place, change in changes)
    texts.pop(tree.sql(dialect="sqlite"), None)
    return list(texts)


def _changes(tree: Any, columns: Columns) -> Iterator[tuple[int, Change]]:
    """The place in the walk of a node that may be changed, and what takes its place or which argument is set."""
    for place, node in enumerate(tree.walk()):
        yield from ((place, new) for new in _replacements(node))
        yield from ((place, setting) for setting in _settings(node))
        if isinstance(node, exp.Column) and (other := _next_column(node, columns)):
            yield place, other
        if isinstance(node, exp.Select):
            yield from ((place, ("where", where)) for where in _idle_conditions(node, columns))


def _changed(tree: Any, place: int, change: Change) -> Any:
    """A copy of a tree with one change; a node is found again in a copy by its place."""
    copy = tree.copy()
    found = next(islice(copy.walk(), place, None))
    if isinstance(change, tuple):
        found.set(*change)
    elif found is copy:
        return change
    else:
        found.replace(change)
    return copy


def _next_column(node: Any, columns: Columns) -> Any:
    """The column after this one in its table, unless it is part of a join's condition."""
    select = node.find_ancestor(exp.Select)
    if select is None or node.find_ancestor(exp.Join) is not None:
        return None
    for table in select.find_all(exp.Table):
        names = list(columns.get(table.name.lower(), ()))
        if node.table.lower() in ("", table.alias_or_name.lower()) and node.name.lower() in names and len(names) > 1:
            name = names[(names.index(node.name.lower()) + 1) % len(names)]
            return exp.column(name, table=node.table or None, quoted=True)
    return None


def _idle_conditions(select: Any, columns: Columns) -> Iterator[Any]:
    """WHERE clauses with one more condition, which few values fail to meet."""
    tables = [join.this for join in select.args.get("joins") or ()]
    start = select.args.get("from_") or select.args.get("from")  # the key before and after sqlglot 28
    for table in [*([start.this] if start is not None else []), *tables]:
        for name in columns.get(table.name.lower(), ())[:_IDLE_COLUMNS] if isinstance(table, exp.Table) else ():
            column = exp.column(name, table=table.alias_or_name, quoted=True)
            for kind, value in ((exp.GTE, exp.Literal.number(0)), (exp.GT, exp.Literal.string(""))):
                new = kind(this=column.copy(), expression=value)
                where = select.args.get("where")
                yield exp.Where(this=exp.and_(where.this.copy(), new) if where is not None else new)


def _settings(node: Any) -> Iterator[tuple[str, Any]]:
    """Arguments of ``node`` that may have another value."""
    if isinstance(node, exp.Select | exp.SetOperation):
        yield from ((clause, None) for clause in _OPTIONAL_CLAUSES if node.args.get(clause))
    if isinstance(node, exp.Select):
        yield "distinct", None if node.args.get("distinct") else exp.Distinct()
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
        yield exp.LTE(this=node.this.copy(), expression=node.args["high"].copy())


def _sides(node: Any) -> dict[str, Any]:
    return {"this": node.this.copy(), "expression": node.expression.copy()}
