"""Which tables a SELECT's conditions relate: what the rules about joins have in common."""

from functools import lru_cache
from typing import Any

from sqlglot import exp

from text2sql.schema import Schema, Table
from text2sql.sql.statement import sources


def connected(select: Any, join: Any) -> bool:
    """Whether some condition of WHERE compares a column of the joined source with one of another source."""
    where = select.args.get("where")
    if where is None:
        return False
    name = join.this.alias_or_name.lower()
    for node in where.find_all(exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NEQ, exp.Like, exp.Between):
        qualifiers = {column.table.lower() for column in _own_columns(node, select)}
        if len(qualifiers) > 1 and name in qualifiers:
            return True
        both_sides = _own_columns(node.this, select) and _own_columns(node.expression, select)
        if both_sides and "" in qualifiers:  # unqualified columns may belong to any table
            return True
    return False


def _own_columns(node: Any, select: Any) -> list[Any]:
    """Columns in ``node`` of the SELECT itself, not of one nested in it; "Rome" is a text that SQLite lets pass as a name."""
    columns = node.find_all(exp.Column) if node is not None else ()
    return [c for c in columns if (c.table or not c.this.quoted) and c.find_ancestor(exp.Select) is select]


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


def qualifiers_unknown(select: Any) -> str | None:
    """The first qualifier of the SELECT's own columns that no source here or in an enclosing query answers to."""
    known: set[str] = set()
    scope = select
    while scope is not None:
        if isinstance(scope, exp.Select):
            known.update(source.alias_or_name.lower() for source in sources(scope) if source.alias_or_name)
        elif isinstance(scope, exp.Update | exp.Delete | exp.Insert):
            known.update(table.alias_or_name.lower() for table in scope.find_all(exp.Table))
        scope = scope.parent
    for column in select.find_all(exp.Column):
        if column.table and column.find_ancestor(exp.Select) is select and column.table.lower() not in known:
            return str(column.table)
    return None


@lru_cache(maxsize=4096)
def column_types(schema: Schema | None) -> dict[str, str]:
    """Declared types by lower-case column name; a name with several types has none."""
    found: dict[str, str] = {}
    for table in schema.tables if schema else ():
        for column in table.columns:
            name = column.name.lower()
            found[name] = column.type if found.get(name, column.type) == column.type else ""
    return found
