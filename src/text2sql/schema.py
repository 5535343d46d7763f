"""A database's schema, read from SQLite, and its rendering for the prompt.

One line a table keeps a small model's context short; types and keys stay, because joins and casts need them.
"""

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from text2sql.errors import UserError

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


def quote(identifier: str) -> str:
    """The identifier, in double quotes only where SQLite needs them."""
    if _PLAIN.match(identifier) and identifier.lower() not in _RESERVED:
        return identifier
    return '"' + identifier.replace('"', '""') + '"'


def open_readonly(path: Path) -> sqlite3.Connection:
    """A read-only connection for our own statements (never for a model's: those go through ``sqleval``).

    Raises:
        UserError: the file is missing or is not a SQLite database.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such database file")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise UserError(f"{path}: not a SQLite database ({error})") from error
    return connection


def read_schema(connection: sqlite3.Connection) -> Schema:
    """Introspect an open database; a foreign key to an undeclared column points to that table's primary key."""
    names = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
        )
    ]
    info = {n: connection.execute("SELECT name, type, pk FROM pragma_table_info(?)", (n,)).fetchall() for n in names}
    keys = {
        n: tuple(c for c, _, _ in sorted(((c, t, k) for c, t, k in info[n] if k), key=lambda r: r[2])) for n in names
    }
    lower = {n.lower(): n for n in names}
    tables = []
    for name in names:
        foreign = []
        rows = connection.execute(
            'SELECT "from", "table", "to", seq FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq', (name,)
        )
        for column, target, ref, seq in rows.fetchall():
            target = lower.get(target.lower())
            if target is None:
                continue
            ref = ref or (keys[target][seq] if seq < len(keys[target]) else None)
            if ref is not None:
                foreign.append(ForeignKey(column, target, ref))
        columns = tuple(Column(c, (t or "").upper()) for c, t, _ in info[name])
        tables.append(Table(name, columns, keys[name], tuple(foreign)))
    return Schema(tuple(tables))


def render_ddl(schema: Schema) -> str:
    """``CREATE TABLE`` statements, one a line, with types, primary keys and foreign keys."""
    return "\n".join(_render_table(table) for table in schema.tables)


def _render_table(table: Table) -> str:
    references = {key.column.lower(): key for key in table.foreign_keys}
    parts = []
    for column in table.columns:
        text = f"{quote(column.name)} {column.type}".rstrip()
        if table.primary_key == (column.name,):
            text += " PRIMARY KEY"
        key = references.get(column.name.lower())
        if key is not None:
            text += f" REFERENCES {quote(key.ref_table)}({quote(key.ref_column)})"
        parts.append(text)
    if len(table.primary_key) > 1:
        parts.append(f"PRIMARY KEY ({', '.join(quote(name) for name in table.primary_key)})")
    return f"CREATE TABLE {quote(table.name)} ({', '.join(parts)});"
