"""The tables of a database as fuzzing needs them: keys, references, and how many rows they have."""

import sqlite3
from dataclasses import dataclass, replace

from sqleval.files import quoted
from sqleval.suite.hints import Hints


@dataclass(frozen=True)
class Column:
    """A column, its declared type, whether NULL is allowed, and the (table, column) it refers to."""

    name: str
    type: str
    nullable: bool
    refers: tuple[str, str] | None


@dataclass(frozen=True)
class Table:
    """A table, its columns, its primary key and how many rows the original has."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rows: int


def read_schema(db: sqlite3.Connection) -> list[Table]:
    """The ordinary tables, in no order."""
    listed = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [_table(db, str(name)) for (name,) in db.execute(f"{listed} ORDER BY name").fetchall()]


def _table(db: sqlite3.Connection, name: str) -> Table:
    by_case = {str(n).lower(): str(n) for (n,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    refers: dict[str, tuple[str, str]] = {}
    for row in db.execute(f"PRAGMA foreign_key_list({quoted(name)})"):
        parent = by_case.get(str(row[2]).lower())
        if parent:
            key = row[4] or next((r[1] for r in db.execute(f"PRAGMA table_info({quoted(parent)})") if r[5]), None)
            if key:
                refers[str(row[3]).lower()] = (parent, str(key))
    info = db.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
    columns = tuple(
        Column(str(r[1]), str(r[2] or "").upper(), not r[3] and not r[5], refers.get(str(r[1]).lower())) for r in info
    )
    (count,) = db.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()
    return Table(name, columns, tuple(str(r[1]) for r in sorted(info, key=lambda r: r[5]) if r[5]), count)


def related(tables: list[Table], hints: Hints) -> list[Table]:
    """Tables with the joins of the golds as references where none is declared, referred tables first as far as may be."""
    by_name = {table.name.lower(): table for table in tables}
    for pair in hints.joins:
        for (child, column), (parent, key) in (pair, pair[::-1]):
            table, other = by_name.get(child), by_name.get(parent)
            if table and other and table is not other and [name.lower() for name in other.key] == [key]:
                by_name[child] = replace(table, columns=tuple(_refer(c, column, other, key) for c in table.columns))
    left = {table.name: table for table in by_name.values()}
    ordered: list[Table] = []
    while left:
        parents = {name: {c.refers[0] for c in table.columns if c.refers} for name, table in left.items()}
        free = [name for name in left if not parents[name] & (left.keys() - {name})]
        ordered += [left.pop(name) for name in free or list(left)[:1]]
    return ordered


def _refer(column: Column, name: str, other: Table, key: str) -> Column:
    if column.name.lower() != name or column.refers:
        return column
    return replace(column, refers=(other.name, next(c.name for c in other.columns if c.name.lower() == key)))
