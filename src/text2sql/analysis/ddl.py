"""A schema's ``CREATE TABLE`` text as :class:`text2sql.schema.Schema`: rewards see the prompt's schema, not the database."""

from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import SqlglotError

from text2sql.schema import Column, ForeignKey, Schema, Table


@lru_cache(maxsize=4096)
def parse_ddl(text: str) -> Schema:
    """Tables, columns, types and keys of ``CREATE TABLE`` statements; statements that cannot be parsed are left out."""
    try:
        trees = sqlglot.parse(text, read=SQLite)
    except (SqlglotError, RecursionError, ValueError):
        trees = []
        for line in text.split(";"):
            try:
                trees += sqlglot.parse(line, read=SQLite)
            except (SqlglotError, RecursionError, ValueError):
                continue
    made = [t for t in trees if isinstance(t, exp.Create) and isinstance(t.this, exp.Schema)]
    return Schema(tuple(_table(tree.this) for tree in made))


def _table(definition: Any) -> Table:
    columns, primary, foreign = [], [], []
    for part in definition.expressions:
        if isinstance(part, exp.ColumnDef):
            kind = part.args.get("kind")
            columns.append(Column(part.name, str(kind.sql(dialect=SQLite)).upper() if kind else ""))
            if part.find(exp.PrimaryKeyColumnConstraint):
                primary.append(part.name)
            reference = part.find(exp.Reference)
            if reference is not None:
                foreign += _foreign_keys([part.name], reference)
        elif isinstance(part, exp.PrimaryKey):
            primary += [key.name for key in part.expressions]
        elif isinstance(part, exp.ForeignKey) and part.args.get("reference") is not None:
            foreign += _foreign_keys([key.name for key in part.expressions], part.args["reference"])
    return Table(definition.this.name, tuple(columns), tuple(primary), tuple(foreign))


def _foreign_keys(columns: list[str], reference: Any) -> list[ForeignKey]:
    target = reference.this
    table = target.this if isinstance(target, exp.Schema) else target
    names = [key.name for key in target.expressions] if isinstance(target, exp.Schema) else []
    names += [""] * (len(columns) - len(names))
    return [ForeignKey(column, table.name, name) for column, name in zip(columns, names, strict=False)]
