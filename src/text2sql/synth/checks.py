"""The checks that a query's steps may state: only those that hold for the query, the schema and the question."""

import re
from typing import Any

from sqlglot import exp

from text2sql.schema import Schema

_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.LT, exp.GTE, exp.LTE)


def find_checks(tree: Any, schema: Schema, question: str) -> list[tuple[str, str]]:
    """The names of the checks that a query passes, each with what it is about (or an empty text)."""
    alias = {node.alias_or_name.lower(): node.name.lower() for node in tree.find_all(exp.Table)}
    found = [("join_key", "")] if _joins_follow_keys(tree, alias, schema) else []
    if len(set(alias.values())) == 1 and tree.find(exp.Join) is None:
        found.append(("one_table", ""))
    found += _grouping(tree, alias, schema)
    values = dict.fromkeys(value for value in map(_literal, _compared(tree)) if _is_named(value, question))
    if values:
        found.append(("values", ", ".join(values)))
    nested = [node.this for node in tree.find_all(exp.Subquery)]
    found += dict.fromkeys(("one_value" if _gives_one_value(query) else "a_list", "") for query in nested)
    if isinstance(tree, exp.SetOperation) and len(tree.left.expressions) == len(tree.right.expressions) > 0:
        found.append(("same_width", ""))
    return found


def _joins_follow_keys(tree: Any, alias: dict[str, str], schema: Schema) -> bool:
    """Whether there are joins, and each is by a declared foreign key."""
    keys = {
        frozenset(((table.name.lower(), key.column.lower()), (key.ref_table.lower(), key.ref_column.lower())))
        for table in schema.tables
        for key in table.foreign_keys
    }
    joins = [join.args.get("on") for join in tree.find_all(exp.Join)]
    sides = [(on.this, on.expression) if isinstance(on, exp.EQ) else () for on in joins]
    ends = [
        frozenset((alias.get(c.table.lower(), ""), c.name.lower()) for c in side if isinstance(c, exp.Column))
        for side in sides
    ]
    return bool(ends) and keys.issuperset(ends)


def _grouping(tree: Any, alias: dict[str, str], schema: Schema) -> list[tuple[str, str]]:
    """Why plain columns beside aggregates have one value a group, if they have."""
    group = tree.args.get("group") if isinstance(tree, exp.Select) else None
    if group is None:
        return []
    plain, keys = [node for node in tree.expressions if isinstance(node, exp.Column)], group.expressions
    if all(node in keys for node in plain):
        return [("grouped", "")]
    if len(keys) != 1 or not isinstance(keys[0], exp.Column) or any(node.table != keys[0].table for node in plain):
        return []
    owner, key = alias.get(keys[0].table.lower(), ""), keys[0].name.lower()
    tables = [table for table in schema.tables if table.name.lower() == owner]
    return [("one_each", table.name) for table in tables[:1] if [k.lower() for k in table.primary_key] == [key]]


def _compared(tree: Any) -> list[Any]:
    """The literals that conditions compare with."""
    return [
        node
        for kind in tree.find_all(exp.Where, exp.Having)
        for node in kind.find_all(exp.Literal)
        if isinstance(node.parent, (*_COMPARED, exp.In, exp.Between, exp.Like))
    ]


def _literal(node: Any) -> str:
    return str(node.this).strip("%") or str(node.this)


def _is_named(value: str, question: str) -> bool:
    """Whether the question has the value as a whole word, so that 9 is not found in 1996."""
    return re.search(rf"(?<![a-z0-9_]){re.escape(value.casefold())}(?![a-z0-9_])", question.casefold()) is not None


def _gives_one_value(query: Any) -> bool:
    return (
        isinstance(query, exp.Select)
        and len(query.expressions) == 1
        and isinstance(query.expressions[0], exp.AggFunc)
        and query.args.get("group") is None
    )
