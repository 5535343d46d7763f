"""The steps of a gold query as text: tables, columns, joins, filters, groups, order, and checks.

They are written from the query's tree by rules, so that each is true of the query. The reasoning and process formats teach
them first, before rewards improve on them.
"""

from typing import Any

from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite

from text2sql.schema import Schema
from text2sql.sql import classify, read_statement
from text2sql.sql.ddl import parse_ddl
from text2sql.synth.checks import find_checks

_TEXTS = {  # English, Chinese
    "asks": ("The question asks: {x}", "问题是：{x}"),
    "tables": ("Tables: {x}.", "需要的表：{x}。"),
    "columns": ("Columns: {x}.", "需要的列：{x}。"),
    "join": ("Join {x}.", "连接：{x}。"),
    "where": ("Filter: {x}.", "过滤条件：{x}。"),
    "group": ("Group by {x}.", "按 {x} 分组。"),
    "having": ("Keep groups with {x}.", "保留满足 {x} 的分组。"),
    "select": ("Return {x}.", "返回 {x}。"),
    "order": ("Sort by {x}.", "按 {x} 排序。"),
    "limit": ("Take the first {x}.", "取前 {x} 行。"),
    "set": ("Combine two queries with {x}.", "用 {x} 合并两个查询。"),
    "nested": ("A nested query is needed: {x}.", "需要嵌套查询：{x}。"),
    "check": ("Check: {x}.", "检查：{x}。"),
    "type": ("The task is of type {x}.", "任务类型：{x}。"),
    "join_key": ("each join follows a foreign key", "每个连接都对应一个外键"),
    "grouped": ("every plain column of the result is grouped", "结果中的普通列都已分组"),
    "one_each": ("a group is one row of {x}, so its columns have one value", "每组对应 {x} 的一行，其列只有一个值"),
    "values": ("the question names {x}", "问题中提到了 {x}"),
    "one_table": ("one table is enough, so no join is needed", "一张表就够，不需要连接"),
    "one_value": ("the nested query gives one value", "嵌套查询只返回一个值"),
    "a_list": ("the nested query gives the values to compare with", "嵌套查询返回用来比较的值"),
    "same_width": ("both queries return as many columns", "两个查询返回的列数相同"),
    "between": ("; ", "；"),
}


def trace(question: str, sql: str, schema: str = "") -> str:
    """The steps, one a line, in Chinese where the question is; just the question where the SQL cannot be parsed."""
    is_chinese = any("\u3400" <= c <= "\u9fff" for c in question)
    text = {name: texts[is_chinese] for name, texts in _TEXTS.items()}
    steps = [("asks", question.strip())]
    statement = read_statement(sql)
    if statement.kind == "select":
        tree, tables = statement.tree.copy(), parse_ddl(schema)
        _quoted_texts(tree, tables)
        steps += _steps(tree)
        steps.append(("type", classify(sql).label))
        checks = [text[name].format(x=x) for name, x in find_checks(tree, tables, question)]
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
