"""What the grammar needs to know of a database: which columns are labels, numbers, dates or groups, and their values.

Roles come from the data and not from the declared types, which are often missing or wrong in SQLite databases.
"""

import re
import sqlite3
from dataclasses import dataclass

from text2sql.schema import Schema, quote, read_schema

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?\Z")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_\s]+")
_IRREGULAR = {"person": "people", "child": "children", "man": "men", "woman": "women", "mouse": "mice"}
_SINGULAR = {plural: singular for singular, plural in _IRREGULAR.items()}
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
    """A table with its describable columns; keys are used in joins only."""

    name: str
    columns: tuple[ColumnProfile, ...]


@dataclass(frozen=True)
class Join:
    """``child.key`` refers to ``parent.ref``."""

    child: str
    key: str
    parent: str
    ref: str


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


def split_words(identifier: str) -> str:
    """``home_town`` and ``HomeTown`` as "home town"."""
    return " ".join(part for part in _CAMEL.split(identifier) if part).lower()


def singular(noun: str) -> str:
    """The English singular of the last word, by rule ("cities" -> "city")."""
    head, _, last = noun.rpartition(" ")
    if last in _SINGULAR:
        last = _SINGULAR[last]
    elif last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith(("ches", "shes", "sses", "xes")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")):
        last = last[:-1]
    return f"{head} {last}".strip()


def plural(noun: str) -> str:
    """The English plural of the last word, by rule; a noun that is plural already stays."""
    head, _, last = singular(noun).rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    else:
        last += "s"
    return f"{head} {last}".strip()
