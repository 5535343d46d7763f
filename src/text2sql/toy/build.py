"""Builds a described database with rows from a seed: the same seed gives the same bytes.

The rows make the results of right and wrong queries differ: they have ties and duplicates (DISTINCT, COUNT), NULLs, skewed
categories (GROUP BY), parents without a child and parents with many (inner and outer joins).
"""

import math
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

from text2sql.artifacts import whole_path
from text2sql.schema import Column, ForeignKey, Schema, Table, quote, render_ddl
from text2sql.toy.spec import ColumnSpec, DatabaseSpec, TableSpec

_TYPES = {"id": "INTEGER", "ref": "INTEGER", "integer": "INTEGER", "real": "REAL"}
_REPEATED_NAMES = 0.05
_REPEATED_NUMBERS = 0.3
_REPEATED_DATES = 0.15
_CHILDLESS = 0.2

Value = TypeVar("Value")


def schema_of(spec: DatabaseSpec) -> Schema:
    """The schema that a described database will have, without building it."""
    keys = {table.name: table.primary_key[0] for table in spec.tables if len(table.primary_key) == 1}
    return Schema(
        tuple(
            Table(
                table.name,
                tuple(Column(column.name, _TYPES.get(column.kind, "TEXT")) for column in table.columns),
                table.primary_key,
                tuple(ForeignKey(c.name, c.to, keys[c.to]) for c in table.columns if c.kind == "ref"),
            )
            for table in spec.tables
        )
    )


def build_database(spec: DatabaseSpec, path: Path, seed: int, rows_scale: float = 1.0) -> None:
    """Write the database file whole; ``rows_scale`` multiplies every table's number of rows."""
    with whole_path(path) as partial, closing(sqlite3.connect(partial)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # the file only counts once it has its final name
        fill(connection, spec, seed, rows_scale)


def fill(connection: sqlite3.Connection, spec: DatabaseSpec, seed: int, rows_scale: float = 1.0) -> None:
    """Create the tables in an open, empty database and insert their rows."""
    rng = random.Random(f"{spec.db_id}/{seed}")
    connection.executescript(f"BEGIN;\n{render_ddl(schema_of(spec))}")
    sizes: dict[str, int] = {}
    for table in spec.tables:
        rows = _rows(table, max(1, round(table.rows * rows_scale)), sizes, rng)
        sizes[table.name] = len(rows)
        slots = ", ".join("?" * len(table.columns))
        connection.executemany(f"INSERT INTO {quote(table.name)} VALUES ({slots})", rows)
    connection.commit()


def _rows(table: TableSpec, count: int, sizes: dict[str, int], rng: random.Random) -> list[tuple[Any, ...]]:
    columns = [_column(column, count, sizes, rng) for column in table.columns]
    rows = list(zip(*columns, strict=True))
    if len(table.primary_key) < 2:
        return rows
    key = [i for i, column in enumerate(table.columns) if column.name in table.primary_key]
    return list({tuple(row[i] for i in key): row for row in rows}.values())  # one row for a pair of parents


def _column(column: ColumnSpec, count: int, sizes: dict[str, int], rng: random.Random) -> list[Any]:
    if column.kind == "id":
        return list(range(1, count + 1))
    if column.kind == "ref":
        return _references(count, sizes[column.to], rng)
    values = _VALUES[column.kind](column, count, rng)
    if column.nulls:
        return [None if rng.random() < column.nulls else value for value in values]
    return list(values)


def _references(count: int, parents: int, rng: random.Random) -> list[int]:
    """Skewed: a fifth of the parents (from three on) gets no child, the first of the others get most."""
    active = list(range(1, parents + 1))
    rng.shuffle(active)
    del active[max(1, parents - math.ceil(parents * _CHILDLESS) if parents > 2 else parents) :]
    return [active[int(len(active) * rng.random() ** 1.7)] for _ in range(count)]


def _names(column: ColumnSpec, count: int, rng: random.Random) -> Iterator[str]:
    """Distinct until all values are used, except for a few repeats of an earlier name."""
    unused: list[str] = []

    def draw() -> str:
        unused.extend([] if unused else rng.sample(column.values, len(column.values)))
        return unused.pop()

    return _with_repeats(draw, _REPEATED_NAMES, count, rng)


def _categories(column: ColumnSpec, count: int, rng: random.Random) -> list[str]:
    """Skewed; of four or more values one may be absent, so that instances differ in their distinct values."""
    known = len(column.values)
    ranked = rng.sample(column.values, known - rng.randint(0, 1) if known > 3 else known)
    return rng.choices(ranked, weights=[1 / (rank + 1.5) for rank in range(len(ranked))], k=count)


def _numbers(column: ColumnSpec, count: int, rng: random.Random) -> Iterator[float]:
    """In steps of about a hundredth of the range; repeats make ties certain."""
    span = column.high - column.low
    decimals = 2 - math.floor(math.log10(span)) if span > 0 else 0
    decimals = min(decimals, 0 if column.kind == "integer" else 2)

    def draw() -> float:
        value = round(rng.uniform(column.low, column.high), decimals)
        value = min(max(value, column.low), column.high)
        return int(value) if column.kind == "integer" else float(value)

    return _with_repeats(draw, _REPEATED_NUMBERS, count, rng)


def _dates(column: ColumnSpec, count: int, rng: random.Random) -> Iterator[str]:
    first = date(int(column.low), 1, 1)
    days = (date(int(column.high), 12, 31) - first).days
    return _with_repeats(
        lambda: (first + timedelta(days=rng.randint(0, days))).isoformat(), _REPEATED_DATES, count, rng
    )


def _with_repeats(draw: Callable[[], Value], share: float, count: int, rng: random.Random) -> Iterator[Value]:
    """``count`` drawn values, of which a share repeats an earlier drawing."""
    drawn: list[Value] = []
    for _ in range(count):
        if drawn and rng.random() < share:
            yield rng.choice(drawn)
        else:
            drawn.append(draw())
            yield drawn[-1]


_VALUES = {"name": _names, "category": _categories, "integer": _numbers, "real": _numbers, "date": _dates}
