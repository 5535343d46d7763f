"""What the grammar needs to know of a database: which columns are labels, numbers, dates or groups, and their values.

Roles come from the data and not from the declared types, which are often missing or wrong in SQLite databases.
"""

import re
import sqlite3
from collections import Counter
from dataclasses import dataclass, replace

from text2sql.schema import Schema, Table, quote, read_schema
from text2sql.synth.words import ends_with, split_words

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?\Z")
_TIME = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?\Z")
_LONGEST_VALUE = 60
SAMPLE_ROWS = 2000


@dataclass(frozen=True)
class ColumnProfile:
    """A column's roles and up to :data:`SAMPLE_ROWS` values (NULLs left out, repetitions kept)."""

    name: str
    roles: frozenset[str]
    values: tuple[str | int | float, ...]
    has_nulls: bool

    @property
    def sql(self) -> str:
        return quote(self.name)

    @property
    def words(self) -> str:
        return split_words(self.name)


@dataclass(frozen=True)
class TableProfile:
    """A table with its describable columns.

    ``keys`` and ``key`` are filled by :func:`refined`: columns that identify rows here or elsewhere, and the primary key.
    """

    name: str
    columns: tuple[ColumnProfile, ...]
    keys: tuple[ColumnProfile, ...] = ()
    key: ColumnProfile | None = None


@dataclass(frozen=True)
class Join:
    """``child.key`` refers to ``parent.ref``; ``whole``: every parent has a child; ``rivals``: other keys lead there too."""

    child: str
    key: str
    parent: str
    ref: str
    whole: bool = False
    rivals: bool = False


@dataclass(frozen=True)
class DatabaseProfile:
    """Tables by name, their foreign keys, and the schema they came from."""

    schema: Schema
    tables: dict[str, TableProfile]
    joins: tuple[Join, ...]


def profile_database(connection: sqlite3.Connection) -> DatabaseProfile:
    """Profile every table that has rows."""
    schema = read_schema(connection)
    tables: dict[str, TableProfile] = {}
    joins = []
    for table in schema.tables:
        keys = {name.lower() for name in table.primary_key} | {f.column.lower() for f in table.foreign_keys}
        names = [column.name for column in table.columns]
        selected = ", ".join(quote(name) for name in names)
        rows = connection.execute(f"SELECT {selected} FROM {quote(table.name)} LIMIT {SAMPLE_ROWS}").fetchall()
        if not rows:
            continue
        columns = [_profile(name, [row[i] for row in rows]) for i, name in enumerate(names) if name.lower() not in keys]
        tables[table.name] = TableProfile(table.name, tuple(c for c in columns if c is not None))
        joins += [Join(table.name, f.column, f.ref_table, f.ref_column) for f in table.foreign_keys]
    known = tuple(j for j in joins if j.child in tables and j.parent in tables and j.child != j.parent)
    return DatabaseProfile(schema, tables, known)


def _profile(name: str, cells: list[object]) -> ColumnProfile | None:
    values = tuple(cell for cell in cells if isinstance(cell, str | int | float))
    if not values or name.lower() == "id" or name.lower().endswith(("_id", "_code")):
        return None
    roles = {"label"}
    distinct = len(set(values))
    if all(isinstance(value, str) for value in values):
        if all(_DATE.match(str(value)) for value in values):
            roles.add("date")
        elif max(len(str(value)) for value in values) <= 40:
            roles.add("text")
            if 2 <= distinct <= max(2, min(12, len(values) // 2)):
                roles |= {"group", "category"}
    elif not any(isinstance(value, str) for value in values):
        roles.add("number")
    return ColumnProfile(name, frozenset(roles), values, len(values) < len(cells))


def refined(connection: sqlite3.Connection, profile: DatabaseProfile, trusted: bool = False) -> DatabaseProfile:
    """The profile for the grammar: keys told, values that a question can quote, numbers that are quantities, sound joins.

    A key of several columns, and one to a column that repeats, is left out: joining by it would count rows twice.
    ``trusted``: the keys of the database are known to be sound, so the rows need not be read for it.
    """
    tables = {
        table.name: _refined(connection, table, profile.tables[table.name])
        for table in profile.schema.tables
        if table.name in profile.tables
    }
    several = Counter((t.name, f.ref_table) for t in profile.schema.tables for f in t.foreign_keys)
    itself = [
        Join(t.name, f.column, t.name, f.ref_column)
        for t in profile.schema.tables
        for f in t.foreign_keys
        if f.ref_table == t.name and t.name in tables and several[t.name, t.name] == 1
    ]
    joins = [join for join in dict.fromkeys((*profile.joins, *itself)) if trusted or _is_sound(connection, join)]
    ends = Counter((join.child, join.parent) for join in joins)
    told = (
        replace(join, whole=not _has_childless(connection, join), rivals=ends[join.child, join.parent] > 1)
        for join in joins
    )
    return replace(profile, tables=tables, joins=tuple(told))


def _refined(connection: sqlite3.Connection, table: Table, known: TableProfile) -> TableProfile:
    described = {column.name for column in known.columns}
    keys = []
    for name in (column.name for column in table.columns if column.name not in described):
        sampled = f"SELECT {quote(name)} FROM {quote(table.name)} WHERE {quote(name)} NOT NULL LIMIT 200"
        values = tuple(cell for (cell,) in connection.execute(sampled) if isinstance(cell, str | int | float))
        if values:
            keys.append(_refined_column(ColumnProfile(name, frozenset({"label", "key"}), values, False)))
    primary = table.primary_key[0].lower() if len(table.primary_key) == 1 else ""
    columns = tuple(_refined_column(column) for column in known.columns)
    own = next((column for column in (*keys, *columns) if column.name.lower() == primary), None)
    return TableProfile(known.name, columns, tuple(keys), own)


def _refined_column(column: ColumnProfile) -> ColumnProfile:
    values = tuple(value for value in column.values if _can_quote(value))
    roles = set(column.roles if values else column.roles & {"label", "key"})
    distinct = Counter(values)
    if values and all(isinstance(value, str) and _TIME.match(value) for value in values):
        roles = {"label", "time"}
    elif "number" in roles and (set(distinct) <= {0, 1} or split_words(column.name).startswith(("is ", "has "))):
        roles = {"label", "flag", "group"} if set(distinct) <= {0, 1} else {"label"}
    elif ends_with(column.name, "identifiers"):
        roles -= {"number"}
    elif (
        "number" in roles
        and 2 <= len(distinct) <= min(12, len(values) // 2)
        and all(isinstance(v, int) for v in distinct)
    ):
        roles |= {"group"}
    return replace(column, roles=frozenset(roles), values=values)


def _can_quote(value: str | int | float) -> bool:
    """Whether a question can quote it as it is: one line, no outer spaces, not too long."""
    if not isinstance(value, str):
        return value == value and abs(value) < 1e15
    return 0 < len(value) <= _LONGEST_VALUE and value == " ".join(value.split()) and "\ufffd" not in value


def _is_sound(connection: sqlite3.Connection, join: Join) -> bool:
    several = connection.execute(
        'SELECT 1 FROM pragma_foreign_key_list(?) AS k WHERE "from" = ? AND EXISTS '
        "(SELECT 1 FROM pragma_foreign_key_list(?) WHERE id = k.id AND seq > 0)",
        (join.child, join.key, join.child),
    ).fetchone()
    ref, parent = quote(join.ref), quote(join.parent)
    counted = f"SELECT count({ref}) = count(DISTINCT {ref}) FROM {parent}"
    return several is None and bool(connection.execute(counted).fetchone()[0])


def _has_childless(connection: sqlite3.Connection, join: Join) -> bool:
    """Whether some parent has no child, so that a join leaves it out."""
    missing = (
        f"SELECT 1 FROM {quote(join.parent)} WHERE {quote(join.ref)} NOT IN (SELECT {{key}} FROM {quote(join.child)} "
    )
    key = quote(join.key)
    return connection.execute(f"{missing.format(key=key)}WHERE {key} NOT NULL) LIMIT 1").fetchone() is not None
