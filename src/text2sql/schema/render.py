"""Renders a schema as text for the prompt: full ``CREATE TABLE`` text, with data shown beside it, or short forms.

One line a table keeps a small model's context short; types and keys stay, because joins and casts need them.
"""

import sqlite3
from dataclasses import dataclass, field
from typing import Literal

from text2sql.schema.model import Schema, Table, quote

Style = Literal["ddl", "ddl_rows", "ddl_values", "compact", "names"]
STYLES_WITH_DATA = ("ddl_rows", "ddl_values")
_LONGEST = 40


@dataclass(frozen=True)
class Samples:
    """First rows of tables, and some values of columns: SQL literals, keyed by table and by (table, column)."""

    rows: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    values: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def read_samples(connection: sqlite3.Connection, schema: Schema, count: int = 3) -> Samples:
    """The first ``count`` rows of each table and ``count`` most frequent values of each text column."""
    samples = Samples()
    for table in schema.tables:
        names = ", ".join(quote(column.name) for column in table.columns)
        rows = connection.execute(f"SELECT {names} FROM {quote(table.name)} LIMIT {count}").fetchall()
        samples.rows[table.name] = [tuple(_literal(cell) for cell in row) for row in rows]
        for column in table.columns:
            found = connection.execute(
                f"SELECT v FROM (SELECT {quote(column.name)} AS v FROM {quote(table.name)} LIMIT 10000) "
                f"WHERE typeof(v) = 'text' GROUP BY v ORDER BY count(*) DESC, v LIMIT {count}"
            ).fetchall()
            samples.values[table.name, column.name] = [_literal(cell) for (cell,) in found]
    return samples


def _literal(cell: object) -> str:
    if cell is None:
        return "NULL"
    if isinstance(cell, bytes):
        return "x'..'"
    if isinstance(cell, str):
        text = " ".join(cell.split())
        text = text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
        return "'" + text.replace("'", "''") + "'"
    return str(cell)


def render(schema: Schema, style: Style = "ddl", samples: Samples | None = None) -> str:
    """The schema as text.

    ``ddl``: :func:`render_ddl`. ``ddl_rows`` adds the first rows of each table, ``ddl_values`` values of text columns,
    both as SQL comments. ``compact``: ``table(column TYPE, ...)`` lines and the joins. ``names``: no types either.
    """
    data = samples or Samples()
    if style == "ddl_rows":
        return "\n".join(_with_rows(table, data) for table in schema.tables)
    if style == "ddl_values":
        return "\n".join(_with_values(table, data) for table in schema.tables)
    if style == "ddl":
        return render_ddl(schema)
    lines = [_short(table, style == "compact") for table in schema.tables]
    joins = [
        f"{quote(table.name)}.{quote(key.column)} = {quote(key.ref_table)}.{quote(key.ref_column)}"
        for table in schema.tables
        for key in table.foreign_keys
    ]
    return "\n".join([*lines, *(["joins: " + ", ".join(joins)] if joins else [])])


def render_ddl(schema: Schema) -> str:
    """``CREATE TABLE`` statements, one a line, with types, primary keys and foreign keys."""
    return "\n".join(_render_table(table) for table in schema.tables)


def _render_table(table: Table) -> str:
    return f"CREATE TABLE {quote(table.name)} ({', '.join(_parts(table))});"


def _parts(table: Table) -> list[str]:
    references: dict[str, dict[str, None]] = {}
    for key in table.foreign_keys:
        reference = f" REFERENCES {quote(key.ref_table)}({quote(key.ref_column)})"
        references.setdefault(key.column.lower(), {})[reference] = None
    parts = []
    for column in table.columns:
        text = f"{quote(column.name)} {column.type}".rstrip()
        if table.primary_key == (column.name,):
            text += " PRIMARY KEY"
        parts.append(text + "".join(references.get(column.name.lower(), ())))
    if len(table.primary_key) > 1:
        parts.append(f"PRIMARY KEY ({', '.join(quote(name) for name in table.primary_key)})")
    return parts


def _with_rows(table: Table, samples: Samples) -> str:
    rows = "".join(f"\n-- ({', '.join(row)})" for row in samples.rows.get(table.name, []))
    return _render_table(table) + rows


def _with_values(table: Table, samples: Samples) -> str:
    parts = _parts(table)
    lines = []
    for number, part in enumerate(parts):
        name = table.columns[number].name if number < len(table.columns) else ""
        values = samples.values.get((table.name, name), [])
        hint = f" -- {', '.join(values)}" if values else ""
        lines.append(f"  {part}{',' * (number + 1 < len(parts))}{hint}")
    return f"CREATE TABLE {quote(table.name)} (\n" + "\n".join(lines) + "\n);"


def _short(table: Table, types: bool) -> str:
    columns = [f"{quote(column.name)} {column.type * types}".rstrip() for column in table.columns]
    keys = {name.lower() for name in table.primary_key}
    marked = [text + "*" * (c.name.lower() in keys) for text, c in zip(columns, table.columns, strict=True)]
    return f"{quote(table.name)}({', '.join(marked)})"
