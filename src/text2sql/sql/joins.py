"""Which tables the conditions of a SELECT relate, for the issue rules about joins."""

from typing import Any

from sqlglot import exp

from text2sql.schema import Schema, Table
from text2sql.sql.statement import own, sources


def connected(select: Any, join: Any) -> bool:
    """Whether a condition of WHERE compares a column of the joined source with one of another source."""
    where = select.args.get("where")
    if where is None:
        return False
    name = join.this.alias_or_name.lower()
    for node in where.find_all(exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NEQ, exp.Like, exp.Between):
        qualifiers = {column.table.lower() for column in _own_columns(select, node)}
        if len(qualifiers) > 1 and name in qualifiers:
            return True
        both_sides = _own_columns(select, node.this) and _own_columns(select, node.expression)
        if both_sides and "" in qualifiers:  # unqualified columns may belong to any table
            return True
    return False


def _own_columns(select: Any, node: Any) -> list[Any]:
    """Columns of the SELECT itself in ``node``; an unqualified "Rome" is text, which SQLite accepts in double quotes."""
    columns = own(select, node, exp.Column) if node is not None else ()
    return [column for column in columns if column.table or not column.this.quoted]


def join_problem(select: Any, join: Any, schema: Schema | None) -> str | None:
    """What is wrong with a join's ON condition, if anything (see the rule ``incorrect_join``)."""
    on = join.args.get("on")
    if on is None or isinstance(on, exp.Boolean):
        return None
    columns = list(on.find_all(exp.Column))
    if not columns:
        return f"{on.sql()} holds or fails for all rows alike"
    qualifiers = {column.table.lower() for column in columns}
    if "" not in qualifiers and len(qualifiers) == 1 and not on.find(exp.Subquery):
        return f"{on.sql()} speaks of one table only"
    for equal in on.find_all(exp.EQ):
        left, right = equal.this, equal.expression
        if isinstance(left, exp.Column) and isinstance(right, exp.Column):
            if left.sql().lower() == right.sql().lower() and left.table:
                return f"{equal.sql()} compares a column with itself"
            if schema is not None and (problem := _key_problem(select, left, right, schema)):
                return problem
    return None


def _key_problem(select: Any, left: Any, right: Any, schema: Schema) -> str | None:
    tables = {table.name.lower(): table for table in schema.tables}
    named = {s.alias_or_name.lower(): tables.get(s.name.lower()) for s in sources(select) if isinstance(s, exp.Table)}
    one, other = named.get(left.table.lower()), named.get(right.table.lower())
    if one is None or other is None or one is other or not (_related(one, other) or _related(other, one)):
        return None
    names = (left.name.lower(), right.name.lower())
    if names[0] == names[1] or _is_key(one, names[0]) or _is_key(other, names[1]):
        return None
    return f"{left.sql()} = {right.sql()}: neither is a key, though a foreign key relates the tables"


def _related(one: Table, other: Table) -> bool:
    return any(key.ref_table.lower() == other.name.lower() for key in one.foreign_keys)


def _is_key(table: Table, column: str) -> bool:
    keys = {*table.primary_key, *(key.column for key in table.foreign_keys)}
    return column in {key.lower() for key in keys}


def unknown_qualifier(select: Any) -> str | None:
    """The first qualifier of the SELECT's own columns that names no source here or in an enclosing query."""
    known: set[str] = set()
    scope = select
    while scope is not None:
        if isinstance(scope, exp.Select):
            known.update(source.alias_or_name.lower() for source in sources(scope) if source.alias_or_name)
        elif isinstance(scope, exp.Update | exp.Delete | exp.Insert):
            known.update(table.alias_or_name.lower() for table in scope.find_all(exp.Table))
        scope = scope.parent
    columns = own(select, select, exp.Column)
    return next((str(column.table) for column in columns if column.table and column.table.lower() not in known), None)
