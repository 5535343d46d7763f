"""What a trace may say in its own favour: only what is so, worked out from the query, the schema and the question."""

import re
from typing import Any

from sqlglot import exp

from text2sql.schema import Schema

_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.LT, exp.GTE, exp.LTE)


def find_checks(tree: Any, schema: Schema, question: str) -> list[tuple[str, str]]:
    """The checks that a query passes, by name, each with what it is about (or nothing)."""
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
    joins = list(tree.find_all(exp.Join))

    def ends(on: Any) -> frozenset[tuple[str, str]]:
        sides = [on.this, on.expression] if isinstance(on, exp.EQ) else []
        return frozenset(
            (alias.get(side.table.lower(), ""), side.name.lower()) for side in sides if isinstance(side, exp.Column)
        )

    return bool(joins) and all(ends(join.args.get("on")) in keys for join in joins)


def _grouping(tree: Any, alias: dict[str, str], schema: Schema) -> list[tuple[str, str]]:
    """Why plain columns beside aggregates have one value a group, if they have."""
    select = tree if isinstance(tree, exp.Select) else None
    group = select.args.get("group") if select is not None else None
    if select is None or group is None:
        return []
    plain = [node for node in select.expressions if isinstance(node, exp.Column)]
    if all(node in group.expressions for node in plain):
        return [("grouped", "")]
    (key,) = group.expressions if len(group.expressions) == 1 else (None,)
    if not isinstance(key, exp.Column):
        return []
    owner = alias.get(key.table.lower(), "")
    table = next((table for table in schema.tables if table.name.lower() == owner), None)
    single = table is not None and [name.lower() for name in table.primary_key] == [key.name.lower()]
    if table is not None and single and all(node.table == key.table for node in plain):
        return [("one_each", table.name)]
    return []


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
