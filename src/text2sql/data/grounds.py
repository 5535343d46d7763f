"""What a row stands on: a database file, ``CREATE TABLE`` text or an entry of tables.json, asked whether its SQL runs.

Opened once and kept while rows go on using it; text is built into a database in memory, so that SQLite decides.
"""

import sqlite3
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqleval import Failure, Limits, classify
from sqleval.run.sandbox import authorize_reading, fetch, guard
from text2sql.data.gold import gold_failure
from text2sql.data.reading import Fault
from text2sql.errors import UserError
from text2sql.schema import (
    STYLES_WITH_DATA,
    Samples,
    Schema,
    SchemaError,
    Style,
    build_from_ddl,
    open_readonly,
    read_samples,
    read_schema,
    read_tables_json,
    render,
    render_ddl,
)

_OPEN = 200  # a sixth of a megabyte each; Spider's train has 146
_LONGEST_NAME = 240  # bytes; asking for a file of a longer name is an error, not a no
_LIMITS = Limits()


class Deadline:
    """When a query must end. Known to the connection alone: one that also knew its owner would outlive it."""

    at = 0.0

    def passed(self) -> bool:
        """Whether SQLite is to stop."""
        return time.monotonic() > self.at


class MemoryDatabase:
    """An in-memory database under the sandbox's guards."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection, self.deadline = connection, Deadline()
        guard(connection, _LIMITS)
        connection.set_authorizer(authorize_reading)
        connection.set_progress_handler(self.deadline.passed, 1000)

    def failure(self, sql: str, timeout: float) -> tuple[str, str] | None:
        """As :func:`text2sql.data.gold.gold_failure`."""
        start = time.monotonic()
        self.deadline.at = start + timeout
        try:
            outcome = fetch(self.connection, sql, _LIMITS, start, None)
        except (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError, OverflowError, MemoryError) as error:
            outcome = classify(str(error))
        return (f"gold does not run ({outcome.error})", outcome.message) if isinstance(outcome, Failure) else None


@dataclass(frozen=True)
class Ground:
    """A schema and a way to run SQL on it; ``text`` is the rendering of the whole schema."""

    schema: Schema
    text: str
    style: Style
    samples: Samples | None = None
    file: Path | None = None
    memory: MemoryDatabase | None = None

    def failure(self, sql: str, timeout: float) -> tuple[str, str] | None:
        """Why the SQL does not run here (reason to count by, detail), or None."""
        if self.file is not None:
            return gold_failure(self.file, sql, timeout)
        return self.memory.failure(sql, timeout) if self.memory is not None else None

    def render(self, schema: Schema) -> str:
        """A part of the schema, in the same style."""
        return render(schema, self.style, self.samples)


class Grounds:
    """Finds a row's ground: first its database file, then its own schema text, tables.json, the recipe's one schema.

    ``databases`` holds ``<db_id>/<db_id>.sqlite``; ``schema`` is a file of DDL, or a database, for rows without.

    Raises:
        UserError: tables.json or the one schema is missing or of another form.
    """

    def __init__(
        self,
        databases: Path | None = None,
        tables: Path | None = None,
        schema: Path | None = None,
        style: Style = "ddl",
        described: Path | None = None,
    ) -> None:
        self.databases, self.style = databases, style
        self.tables = read_tables_json(tables) if tables is not None else {}
        self.described = _read_described(described) if described is not None else {}
        self.default = self._from_file(schema) if schema is not None else None
        self.open_text = lru_cache(_OPEN)(self._open_text)
        self.open_file = lru_cache(_OPEN)(self._open_file)
        self.open_entry = lru_cache(_OPEN)(lambda db_id: self._on_schema(self.tables[db_id]))

    def find(self, db_id: str, text: str) -> Ground | Fault | None:
        """The ground, what is wrong with it, or None where there is none."""
        if self.databases is not None and db_id:
            path = self.databases / db_id / f"{db_id}.sqlite"
            if Path(db_id).name == db_id and len(db_id.encode()) <= _LONGEST_NAME and path.is_file():
                return self.open_file(path)
            if not text and db_id not in self.tables and self.default is None:
                return Fault("missing database", f"{db_id}/{db_id}.sqlite")
        if text:
            return self.open_text(self.described.get(text) or text)
        return self.open_entry(db_id) if db_id in self.tables else self.default

    def _open_file(self, path: Path) -> Ground | Fault:
        try:
            connection = open_readonly(path)
        except UserError as error:
            return Fault("not a database", str(error))
        try:
            schema = read_schema(connection)
            samples = read_samples(connection, schema) if self.style in STYLES_WITH_DATA else None
        except sqlite3.DatabaseError as error:
            return Fault("not a database", f"{path}: {error}")
        finally:
            connection.close()
        if not schema.tables:
            return Fault("not a database", f"{path}: it has no tables")
        return Ground(schema, render(schema, self.style, samples), self.style, samples, file=path)

    def _open_text(self, text: str) -> Ground | Fault:
        try:
            connection = build_from_ddl(text)
        except SchemaError as error:
            return Fault("schema cannot be built", str(error))
        schema = read_schema(connection)
        samples = read_samples(connection, schema) if self.style in STYLES_WITH_DATA else None
        memory = MemoryDatabase(connection)
        return Ground(schema, render(schema, self.style, samples), self.style, samples, memory=memory)

    def _on_schema(self, schema: Schema) -> Ground | Fault:
        return self._open_text(render_ddl(schema))

    def _from_file(self, path: Path) -> Ground:
        if not path.is_file():
            raise UserError(f"{path}: no such schema file")
        with path.open("rb") as stream:
            is_database = stream.read(15) == b"SQLite format 3"
        try:
            ground = self._open_file(path) if is_database else self._open_text(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 text ({error})") from error
        if isinstance(ground, Fault):
            raise UserError(f"{path}: {ground.reason} ({ground.detail})")
        return ground


def _read_described(path: Path) -> dict[str, str]:
    from text2sql.data.describe import read_described  # which imports this module

    return read_described(path)
