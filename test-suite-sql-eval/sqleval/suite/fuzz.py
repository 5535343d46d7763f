"""Other rows for the same schema: a copy of a database whose cells are sampled again.

Values come from the column's own, numbers close to them, and the literals that the gold queries compare with, so that
filters keep some rows and drop others. Foreign keys point at rows that exist; some stay without partners, and some
values repeat, because joins and DISTINCT differ only then.
"""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqleval.compare.rewrite import tokenize
from sqleval.files import lenient, open_readonly, quoted
from sqleval.outcome import Cell

_MOST_ROWS = 300
_POOL = 2000
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Column:
    """A column, its declared type, whether NULL is allowed, and the (table, column) it refers to."""

    name: str
    type: str
    nullable: bool
    refers: tuple[str, str] | None


@dataclass(frozen=True)
class Table:
    """A table, its columns and its primary key."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]


def literals(sqls: Sequence[str]) -> list[Cell]:
    """Strings and numbers that queries compare with, and the numbers next to them."""
    found: dict[Cell, None] = {}
    for sql in sqls:
        for kind, text in tokenize(sql):
            if kind in ("string", "quoted"):
                inner = text[1:-1].strip("%").encode(errors="ignore").decode()
                found |= {inner: None, inner + "x": None}
            elif kind == "number" and (number := _number(text)) is not None:
                found |= {number: None, number + 1: None, number - 1: None}
    return list(found)


def _number(text: str) -> int | float | None:
    """The number that a token stands for; None where SQLite could not store it and its neighbours as they are."""
    hexadecimal = "x" in text.lower()
    try:
        number = int(text, 16) if hexadecimal else float(text) if set(text) & set(".eE") else int(text)
    except ValueError:  # more digits than Python converts
        return None
    return number if abs(number) < _LARGEST else None


def read_schema(db: sqlite3.Connection) -> list[Table]:
    """Tables in an order in which referred tables come first (as far as there is one)."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    left = {str(name): _table(db, str(name)) for (name,) in db.execute(query)}
    ordered: list[Table] = []
    while left:
        parents = {
            name: {column.refers[0] for column in table.columns if column.refers} for name, table in left.items()
        }
        free = [name for name in left if not parents[name] & (left.keys() - {name})]
        ordered += [left.pop(name) for name in free or list(left)[:1]]
    return ordered


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
    return Table(name, columns, tuple(str(r[1]) for r in sorted(info, key=lambda r: r[5]) if r[5]))


def write_instance(original: Path, target: Path, golds: Sequence[str], seed: int) -> None:
    """Write a fuzzed copy of ``original`` to ``target`` (which must not exist)."""
    source = random.Random(seed)
    with closing(sqlite3.connect(target, isolation_level=None)) as db, closing(open_readonly(original)) as origin:
        origin.backup(db)
        db.text_factory = lenient
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("BEGIN")
        extra = literals(golds)
        for table in read_schema(db):
            _refill(db, table, extra, source)
        db.execute("COMMIT")
        db.execute("VACUUM")


def _refill(db: sqlite3.Connection, table: Table, extra: Sequence[Cell], source: random.Random) -> None:
    name = quoted(table.name)
    (count,) = db.execute(f"SELECT count(*) FROM {name}").fetchone()
    pools = {column.name: _pool(db, table, column, extra, source) for column in table.columns}
    db.execute(f"DELETE FROM {name}")
    rows = min(max(int(count * source.uniform(0.5, 1.5)), source.randint(3, 12)), _MOST_ROWS)
    places = ", ".join("?" for _ in table.columns)
    cells = ([_sample(c, table, pools[c.name], number, source) for c in table.columns] for number in range(rows))
    # Rows that break a UNIQUE, CHECK or NOT NULL constraint are simply left out.
    db.executemany(f"INSERT OR IGNORE INTO {name} VALUES ({places})", cells)


def _pool(
    db: sqlite3.Connection, table: Table, column: Column, extra: Sequence[Cell], source: random.Random
) -> list[Cell]:
    """Values that a column may take."""
    if column.refers and column.refers[0] != table.name:
        parent, key = map(quoted, column.refers)
        found = [row[0] for row in db.execute(f"SELECT {key} FROM {parent} LIMIT {_POOL}")]
        # Some parent rows are not referenced, so that outer and inner joins differ.
        kept = source.sample(found, max(1, int(len(found) * 0.7))) if found else []
        return kept or [None]
    query = f"SELECT DISTINCT {quoted(column.name)} FROM {quoted(table.name)} LIMIT {_POOL}"
    own: list[Cell] = [row[0] for row in db.execute(query) if row[0] is not None]
    numeric = any(word in column.type for word in ("INT", "REAL", "NUM", "FLOA", "DOUB", "DEC")) or (
        bool(own) and all(isinstance(value, int | float) for value in own)
    )
    if not numeric:
        return own + [value for value in extra if isinstance(value, str)] or ["a", "b", "c"]
    numbers = [value for value in own if isinstance(value, int | float)]
    near = [value + step for value in source.sample(numbers, min(len(numbers), 20)) for step in (1, -1)]
    return own + near + [value for value in extra if isinstance(value, int | float)] or [0, 1, 2, 3]


def _sample(column: Column, table: Table, pool: list[Cell], number: int, source: random.Random) -> Cell:
    alone = table.key == (column.name,)
    if alone and not column.refers:
        kept = [value for value in pool if isinstance(value, int)]
        if "INT" in column.type or len(kept) == len(pool):
            return kept[number] if number < len(kept) and source.random() < 0.8 else number + 1
        value = pool[number % len(pool)]
        return value if number < len(pool) else f"{value!s}{number}"
    if column.nullable and source.random() < 0.06:
        return None
    # A few frequent values make ties and duplicates likely.
    return source.choice(pool[: max(2, len(pool) // 8)] if source.random() < 0.4 else pool)
