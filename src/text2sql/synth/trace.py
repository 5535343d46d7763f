"""The steps of a gold query as text: tables, columns, joins, filters, groups, order, and checks.

They are written from the query's tree by rules, so that each is true of the query. The reasoning and process formats teach
them first, before rewards improve on them.
"""

import re
from typing import Any

from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite

from text2sql.schema import Schema
from text2sql.sql import classify, read_statement
from text2sql.sql.statement import parse_ddl
from text2sql.synth.grammar import read_yaml

_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.LT, exp.GTE, exp.LTE)


def trace(question: str, sql: str, schema: str = "") -> str:
    """The steps, one a line, in Chinese where the question is; just the question where the SQL cannot be parsed."""
    is_chinese = any("\u3400" <= c <= "\u9fff" for c in question)
    text = {name: texts[is_chinese] for name, texts in read_yaml("trace.yaml").items()}
    steps = [("asks", question.strip())]
    statement = read_statement(sql)
    if statement.kind == "select":
        tree, tables = statement.tree.copy(), parse_ddl(schema)
        _quoted_texts(tree, tables)
        steps += _steps(tree)
        steps.append(("type", classify(sql).label))
        checks = [text[name].format(x=x) for name, x in _checks(tree, tables, question)]
        steps.append(("check", text["between"].join(checks)))
    return "\n".join(text[name].format(x=x) for name, x in steps if x)


def _quoted_texts(tree: Any, schema: Schema) -> None:
    """Replace names in double quotes that the schema does not have by text literals, as SQLite reads them."""
    names = {column.name.lower() for table in schema.tables for column in table.columns}
    for node in list(tree.find_all(exp.Column)):
        if node.this.args.get("quoted") and not node.table and node.name.lower() not in names:
            node.replace(exp.Literal.string(node.name))


def _steps(tree: Any) -> list[tuple[str, str]]:
    tables = dict.fromkeys(node.name for node in tree.find_all(exp.Table))
    alias = {node.alias: node.name for node in tree.find_all(exp.Table) if node.alias}
    columns = dict.fromkeys(_column(node, alias) for node in tree.find_all(exp.Column))
    steps = [("tables", ", ".join(tables)), ("columns", ", ".join(columns))]
    if isinstance(tree, exp.SetOperation):
        steps.append(("set", tree.key.upper()))
        for side in (tree.left, tree.right):
            steps += _select(side, alias) if isinstance(side, exp.Select) else []
        return steps
    return steps + _select(tree, alias)


def _select(select: Any, alias: dict[str, str]) -> list[tuple[str, str]]:
    """The clauses in the order in which a database evaluates them."""
    steps = []
    for join in select.args.get("joins") or []:
        on = join.args.get("on")
        steps.append(("join", f"{join.this.name}: {_words([on], alias)}" if on is not None else join.this.name))
    for clause in ("where", "group", "having"):
        node = select.args.get(clause)
        if node is not None:
            steps.append((clause, _words(node.expressions if clause == "group" else [node.this], alias)))
    nested = [query for query in select.find_all(exp.Subquery) if query.parent_select is select]
    steps += [("nested", _words([query.this], alias)) for query in nested]
    distinct = "DISTINCT " if select.args.get("distinct") else ""
    steps.append(("select", distinct + _words(select.expressions, alias)))
    order, limit = select.args.get("order"), select.args.get("limit")
    if order is not None:
        steps.append(("order", _words(order.expressions, alias)))
    if limit is not None:
        steps.append(("limit", _words([limit.expression], alias)))
    return steps


def _column(node: Any, alias: dict[str, str]) -> str:
    table = alias.get(node.table, node.table)
    return f"{table}.{node.name}" if table else str(node.name)


def _words(nodes: list[Any], alias: dict[str, str]) -> str:
    """The SQL of parts of a query, with table names in place of aliases."""
    parts = [node.copy() for node in nodes]
    for column in (column for part in parts for column in part.find_all(exp.Column)):
        if column.table in alias:
            column.set("table", exp.to_identifier(alias[column.table]))
    return ", ".join(str(part.sql(dialect=SQLite)).replace(" AS ", " as ") for part in parts)


def _checks(tree: Any, schema: Schema, question: str) -> list[tuple[str, str]]:
    """The names of the checks that the query, the schema and the question pass, each with what it is about (or an empty text)."""
    alias = {node.alias_or_name.lower(): node.name.lower() for node in tree.find_all(exp.Table)}
    found = [("join_key", "")] if _joins_follow_keys(tree, alias, schema) else []
    if len(set(alias.values())) == 1 and tree.find(exp.Join) is None:
        found.append(("one_table", ""))
    found += _grouping(tree, alias, schema)
    literals = (str(node.this).strip("%") or str(node.this) for node in compared(tree))
    values = dict.fromkeys(value for value in literals if is_named(value, question))
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


def compared(tree: Any) -> list[Any]:
    """The literals that conditions compare with."""
    return [
        node
        for kind in tree.find_all(exp.Where, exp.Having)
        for node in kind.find_all(exp.Literal)
        if isinstance(node.parent, (*_COMPARED, exp.In, exp.Between, exp.Like))
    ]


def is_named(value: str, question: str) -> bool:
    """Whether the question has the value as a whole word, so that 9 is not found in 1996."""
    return re.search(rf"(?<![a-z0-9_]){re.escape(value.casefold())}(?![a-z0-9_])", question.casefold()) is not None


def _gives_one_value(query: Any) -> bool:
    return (
        isinstance(query, exp.Select)
        and len(query.expressions) == 1
        and isinstance(query.expressions[0], exp.AggFunc)
        and query.args.get("group") is None
    )
