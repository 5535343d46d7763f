"""Runs one untrusted SQL statement on a SQLite database and always returns a typed outcome.

Covered, by guards that do not rely on each other:

* Nothing is written. The file is opened ``mode=ro`` and ``immutable=1`` (no journal, no lock, no shared memory
  file; where a write-ahead log beside it is not empty, ``mode=ro`` alone, so that the log is read too), ``query_only``
  is on, and an authorizer allows SELECT, column reads, recursion and function calls, and nothing else: no ATTACH,
  PRAGMA, DDL, DML, transactions, temporary objects or new virtual tables, and no function that touches files or
  loads code. Sorting stays in memory, so there are no temporary files either.
* It terminates. A progress handler interrupts SQLite when the wall-clock timeout is over.
* Its memory is bounded. Caps on the statement's length, expression depth, columns, joined terms and LIKE patterns, on a
  cell's bytes, on rows and bytes of the result, and on SQLite's heap.
* Text that is not valid UTF-8 is read with the bad bytes left out. NUL bytes and lone surrogates in a statement are
  a syntax error, a second statement is an error.

Not covered here: a single call of a built-in function that runs long (``instr`` on two large strings), because
SQLite checks the clock between its own instructions only; and a crash of SQLite itself. :class:`sqleval.Evaluator` and
:func:`sqleval.execute` cover both by running this code in worker processes that they end and replace. The heap cap is SQLite's
own and holds for the whole process once set. Reading is not restricted: whoever may query sees the whole database.
"""

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from marshal import dumps
from pathlib import Path
from typing import Any

from sqleval.files import lenient, open_readonly, quoted, side_files
from sqleval.outcome import ErrorClass, Failure, Outcome, Row, Rows, classify


@dataclass(frozen=True)
class Limits:
    """Caps of one statement: seconds, rows, and bytes. ``gold_timeout`` is for statements that are trusted to end.

    More than ``rows`` rows are a failure; with ``first``, only so many are read, and there is none.
    """

    timeout: float = 5.0
    gold_timeout: float = 60.0
    rows: int = 1_000_000
    cell_bytes: int = 1 << 20
    result_bytes: int = 64 << 20
    heap_bytes: int = 512 << 20
    sql_bytes: int = 200_000
    first: int | None = None


DEFAULT = Limits()
EMPTY_STATEMENT = Failure(ErrorClass.SYNTAX, "the statement is empty")
NO_ROWS = Failure(ErrorClass.SYNTAX, "no statement that gives rows")
# What running a statement can raise, MemoryError aside.
SQL_ERRORS = (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError)

# Called with how many rows were read so far and the latest of them; true when the caller needs no more.
Enough = Callable[[int, list[Row]], bool]

_READING = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE))
_UNSAFE_FUNCTIONS = frozenset(
    "load_extension readfile writefile edit fts3_tokenizer sqlite_attach sqlite_detach fsdir lsmode sqlite_rename_column "
    "sqlite_rename_table sqlite_log zipfile eval shell_add_schema sha3_query".split()
)
# Before version 3.41 SQLite writes the character of %.9999999c as often as it is told, whatever its limits.
_REPEATS = re.compile(r"%[-+ 0#,!]*(?:\*|\d*)\.(?:\*|\d{7,})c")
_TOO_OFTEN = Failure(ErrorClass.TOO_LARGE, "string or blob too big")
_CELLS_AT_ONCE = 64
_STEPS_BETWEEN_CLOCK_CHECKS = 1000


def authorize_reading(action: int, name: str | None, other: str | None, *_rest: str | None) -> int:
    """SQLite's authorizer for reading: selects, columns, recursion and functions that are safe."""
    # Full-text tables ask for the data's version before they search.
    if action in _READING or (action == sqlite3.SQLITE_PRAGMA and name == "data_version" and other is None):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (other or "").lower() not in _UNSAFE_FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


class Connection:
    """A read-only connection to one database that can run many statements, one at a time.

    The database is a file, or what ``sqlite3.Connection.serialize`` made of one.

    Raises:
        FileNotFoundError: there is no such database file.
    """

    def __init__(self, database: str | Path | bytes, limits: Limits = DEFAULT) -> None:
        self._content = database if isinstance(database, bytes) else None
        self.path = Path(":memory:" if isinstance(database, bytes) else database)
        if self._content is None and not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such database")
        self.limits = limits
        self._deadline = 0.0
        self._open()

    def _open(self) -> None:
        if self._content is None:
            # Changes that are not in the file yet are in the log or journal, which an immutable database does not read.
            self._db = open_readonly(self.path, immutable=not side_files(self.path))
        else:
            self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._db.deserialize(self._content)
        guard(self._db, self.limits)
        self._db.execute("PRAGMA query_only = ON")
        self._db.set_authorizer(authorize_reading)
        self._db.set_progress_handler(self._late, _STEPS_BETWEEN_CLOCK_CHECKS)

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def close(self) -> None:
        """Close the database; the object is of no use afterwards."""
        self._db.close()

    def run(self, sql: str, timeout: float | None = None, enough: Enough | None = None) -> Outcome:
        """Run one statement; reading stops, without an error, once ``enough`` says so (see :data:`Enough`)."""
        start = time.monotonic()
        self._deadline = start + (self.limits.timeout if timeout is None else timeout)
        try:
            return fetch(self._db, sql, self.limits, start, enough)
        except MemoryError:
            self.close()
            self._open()
            return Failure(ErrorClass.TOO_LARGE, "out of memory")
        except SQL_ERRORS as error:
            if "decode to UTF-8" not in str(error):
                return classify(str(error))
        # Decoding in Python is slower, so only databases that turned out to hold invalid text get it, from now on.
        self._db.text_factory = lenient
        return self.run(sql, self._deadline - time.monotonic(), enough)


def guard(db: sqlite3.Connection, limits: Limits) -> None:
    """Set the caps on a new connection and connect its virtual tables, before its authorizer."""
    db.execute(f"PRAGMA hard_heap_limit = {limits.heap_bytes}")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cache_size = -16000")
    for category, value in (
        (sqlite3.SQLITE_LIMIT_LENGTH, limits.cell_bytes),
        (sqlite3.SQLITE_LIMIT_SQL_LENGTH, limits.sql_bytes),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 1000),
        (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 200),
        (sqlite3.SQLITE_LIMIT_COLUMN, 500),
        (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
    ):
        db.setlimit(category, value)
    # Their modules run statements of their own when first used, which the authorizer would deny.
    made = "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'"
    names = [quoted(str(name)) for (name,) in db.execute(made)]
    for source in ("json_each('[]')", "json_tree('[]')", *names):
        with suppress(sqlite3.Error):
            db.execute(f"SELECT 1 FROM {source} LIMIT 0")


def fetch(db: sqlite3.Connection, sql: str, limits: Limits, start: float, enough: Enough | None) -> Outcome:
    """Run a statement and read its rows within the caps; sqlite3's own errors pass through."""
    if not sql.strip():
        return EMPTY_STATEMENT
    if "%" in sql and _REPEATS.search(sql):
        return _TOO_OFTEN
    cursor: Any = db.execute(sql)
    try:
        if cursor.description is None:
            return NO_ROWS
        columns = tuple(str(column[0]) for column in cursor.description)
        rows: list[Row] = []
        size = 0
        # Few cells at a time: what is read before the caps are checked must not fill memory either.
        many = max(1, _CELLS_AT_ONCE // len(columns))
        while batch := cursor.fetchmany(many):
            rows += batch
            if enough is not None and enough(len(rows), batch):
                return Rows(columns, rows, time.monotonic() - start)
            if limits.first is not None and len(rows) >= limits.first:
                return Rows(columns, rows[: limits.first], time.monotonic() - start)
            size += len(dumps(batch))
            if len(rows) > limits.rows:
                return Failure(ErrorClass.TOO_LARGE, f"more than {limits.rows} rows")
            if size > limits.result_bytes:
                return Failure(ErrorClass.TOO_LARGE, f"more than {limits.result_bytes} bytes of rows")
        return Rows(columns, rows, time.monotonic() - start)
    finally:
        cursor.close()


@lru_cache(maxsize=32)
def _connection(database: Path | bytes, changed: int, size: int, limits: Limits) -> Connection:
    return Connection(database, limits)


def execute_here(database: Path | bytes, sql: str, limits: Limits, timeout: float) -> Outcome:
    """Run one statement in this process; connections are kept open between calls.

    Whoever cannot be sure of the statement calls :func:`sqleval.execute` (see the module).
    """
    try:
        stat = None if isinstance(database, bytes) else database.stat()
        changed, size = (stat.st_mtime_ns, stat.st_size) if stat else (0, 0)
        return _connection(database, changed, size, limits).run(sql, timeout)
    except (OSError, sqlite3.Error) as error:
        return classify(str(error))
