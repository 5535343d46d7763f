"""The one model of a schema, whatever it was read from, and its text for the prompt.

The text is full ``CREATE TABLE`` statements, with data shown beside them, or short forms. One line a table keeps a small
model's context short; types and keys stay, because joins and casts need them.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = frozenset(
    "add all alter and as asc between by case check column create cross current_date default delete desc distinct drop "
    "else end except exists foreign from full group having if in index inner insert intersect into is join key left "
    "like limit natural not null on or order outer primary references right select set table then to transaction "
    "union unique update using values when where with".split()
)


@dataclass(frozen=True)
class Column:
    """A column; ``type`` is the declared type in upper case, or empty."""

    name: str
    type: str


@dataclass(frozen=True)
class ForeignKey:
    """Column ``column`` of a table refers to ``ref_table``.``ref_column``."""

    column: str
    ref_table: str
    ref_column: str


@dataclass(frozen=True)
class Table:
    """A table with its keys; ``primary_key`` lists column names in key order."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()


@dataclass(frozen=True)
class Schema:
    """All tables of a database, in the order of their creation."""

    tables: tuple[Table, ...]

    def keep(self, wanted: Callable[[str, str], bool]) -> "Schema":
        """The part whose columns ``wanted(table, column)`` names; a foreign key stays while both its ends do."""
        columns = {t.name: tuple(c for c in t.columns if wanted(t.name, c.name)) for t in self.tables}
        left = {(t.lower(), c.name.lower()) for t, kept in columns.items() for c in kept}
        tables = []
        for name, table in ((table.name, table) for table in self.tables if columns[table.name]):
            has = [(name.lower(), key.lower()) in left for key in table.primary_key]
            foreign = tuple(
                key
                for key in table.foreign_keys
                if {(name.lower(), key.column.lower()), (key.ref_table.lower(), key.ref_column.lower())} <= left
            )
            tables.append(Table(name, columns[name], table.primary_key if all(has) else (), foreign))
        return Schema(tuple(tables))


def quote(identifier: str) -> str:
    """The identifier, in double quotes only where SQLite needs them."""
    if _PLAIN.match(identifier) and identifier.lower() not in _RESERVED:
        return identifier
    return '"' + identifier.replace('"', '""') + '"'


Style = Literal["ddl", "ddl_rows", "ddl_values", "compact", "names"]
STYLES_WITH_DATA = ("ddl_rows", "ddl_values")
_LONGEST = 40
_MOST_CODES, _LONGEST_CODE = 6, 24


@dataclass(frozen=True)
class Samples:
    """What is shown beside a schema.

    First rows of tables, and some values of columns, as SQL literals, keyed by table and by (table, column); descriptions
    of columns, keyed by (table, column) in lower case.
    """

    rows: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    values: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    descriptions: dict[tuple[str, str], str] = field(default_factory=dict)


def read_samples(connection: sqlite3.Connection, schema: Schema, count: int = 3) -> Samples:
    """The first ``count`` rows of each table; of each text column all values where they are few, short and repeated,
    because a question seldom spells out a code such as ``'F'``, else the most frequent one."""
    samples = Samples()
    for table in schema.tables:
        names = ", ".join(quote(column.name) for column in table.columns)
        rows = connection.execute(f"SELECT {names} FROM {quote(table.name)} LIMIT {count}").fetchall()
        samples.rows[table.name] = [tuple(_literal(cell) for cell in row) for row in rows]
        for column in table.columns:
            found = connection.execute(
                f"SELECT v, count(*) FROM (SELECT {quote(column.name)} AS v FROM {quote(table.name)} LIMIT 10000) "
                f"WHERE typeof(v) = 'text' GROUP BY v ORDER BY count(*) DESC, v LIMIT {_MOST_CODES + 1}"
            ).fetchall()
            values = [_literal(cell) for cell, _ in found if any(character.isalnum() for character in cell)]
            is_code = len(found) <= _MOST_CODES and any(times > 1 for _, times in found)
            is_short = all(len(value) <= _LONGEST_CODE for value in values)
            samples.values[table.name, column.name] = values if is_code and is_short else values[:1]
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

    ``ddl``: :func:`render_ddl`. ``ddl_rows`` adds the first rows of each table, ``ddl_values`` values of text columns and
    what describes a column, both as SQL comments. ``compact``: ``table(column TYPE, ...)`` lines and the joins.
    ``names``: no types either.
    """
    data = samples or Samples()
    if style == "ddl_values":
        return "\n".join(_with_values(table, data) for table in schema.tables)
    if style in ("ddl", "ddl_rows"):
        rows = data.rows if style == "ddl_rows" else {}
        return "\n".join(_render_table(table, rows.get(table.name, ())) for table in schema.tables)
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


def _render_table(table: Table, rows: Iterable[tuple[str, ...]] = ()) -> str:
    shown = "".join(f"\n-- ({', '.join(row)})" for row in rows)
    return f"CREATE TABLE {quote(table.name)} ({', '.join(_parts(table))});{shown}"


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


def _with_values(table: Table, samples: Samples) -> str:
    parts = _parts(table)
    lines = []
    for number, part in enumerate(parts):
        name = table.columns[number].name if number < len(table.columns) else ""
        told = samples.descriptions.get((table.name.lower(), name.lower()), "")
        shown = "; ".join(filter(None, (told, ", ".join(samples.values.get((table.name, name), [])))))
        hint = f" -- {shown}" if shown else ""
        lines.append(f"  {part}{',' * (number + 1 < len(parts))}{hint}")
    return f"CREATE TABLE {quote(table.name)} (\n" + "\n".join(lines) + "\n);"


def _short(table: Table, types: bool) -> str:
    columns = [f"{quote(column.name)} {column.type * types}".rstrip() for column in table.columns]
    keys = {name.lower() for name in table.primary_key}
    marked = [text + "*" * (c.name.lower() in keys) for text, c in zip(columns, table.columns, strict=True)]
    return f"{quote(table.name)}({', '.join(marked)})"
