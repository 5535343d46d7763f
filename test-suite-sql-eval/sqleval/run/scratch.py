"""Statements that write, run on a throw-away copy in memory.

For rewards that judge INSERT, UPDATE or DELETE by what they leave behind, and for reproducing what a writable
connection would have answered. The file on disk is only ever read.
"""

import hashlib
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from sqleval.files import lenient, open_readonly, quoted
from sqleval.outcome import ErrorClass, Failure, Outcome, Rows, classify
from sqleval.run.sandbox import DEFAULT, NO_ROWS, SQL_ERRORS, Limits, authorize_reading, fetch, guard

_WRITING = frozenset((sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE))
_NEVER = frozenset((sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH))
# These change more than the copy's own connection.
_PROCESS_WIDE = frozenset(("hard_heap_limit", "soft_heap_limit", "temp_store_directory", "data_store_directory"))


def run_on_copy(
    database: str | Path, sql: str, limits: Limits = DEFAULT, *, timeout: float | None = None, everything: bool = False
) -> Outcome:
    """Run one statement on an in-memory copy of a database.

    SELECT, INSERT, UPDATE and DELETE are allowed; ``everything`` allows all but ATTACH, settings of the whole process
    and functions that reach files. The rows are those of SELECT or RETURNING; ``changed`` and ``state`` tell what the
    statement did.

    Raises:
        FileNotFoundError: there is no such database file.
    """
    path = Path(database)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such database")
    start = time.monotonic()
    deadline = start + (limits.timeout if timeout is None else timeout)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        try:
            with closing(open_readonly(path)) as source:
                source.backup(db)
            guard(db, limits)
            db.text_factory = lenient
            db.set_authorizer(_authorize_everything if everything else _authorize_writing)
            db.set_progress_handler(lambda: time.monotonic() > deadline, 1000)
            return _run(db, sql, limits, start)
        except MemoryError:
            return Failure(ErrorClass.TOO_LARGE, "out of memory")
        except SQL_ERRORS as error:
            return classify(str(error))


def _run(db: sqlite3.Connection, sql: str, limits: Limits, start: float) -> Outcome:
    before = db.total_changes
    outcome = fetch(db, sql, limits, start, None)
    if outcome is NO_ROWS:
        outcome = Rows((), [])
    if isinstance(outcome, Failure):
        return outcome
    changed = db.total_changes - before
    db.set_progress_handler(None, 0)
    db.set_authorizer(None)
    return replace(outcome, seconds=time.monotonic() - start, changed=changed, state=_content_digest(db))


def _content_digest(db: sqlite3.Connection) -> str:
    """SHA-256 over all tables' names, columns and rows, independent of row order and of rowids."""
    digest = hashlib.sha256()
    tables = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for name, definition in tables:
        rows = sorted(repr(row) for row in db.execute(f"SELECT * FROM {quoted(str(name))}"))
        digest.update(repr((name, definition, rows)).encode("utf-8", errors="surrogatepass"))
    return digest.hexdigest()


def _authorize_writing(action: int, name: str | None, *rest: str | None) -> int:
    if action in _WRITING and not (name or "").lower().startswith("sqlite_"):
        return sqlite3.SQLITE_OK
    return authorize_reading(action, name, *rest)


def _authorize_everything(action: int, name: str | None, *rest: str | None) -> int:
    if action in _NEVER or (action == sqlite3.SQLITE_PRAGMA and str(name).lower() in _PROCESS_WIDE):
        return sqlite3.SQLITE_DENY
    return authorize_reading(action, name, *rest) if action == sqlite3.SQLITE_FUNCTION else sqlite3.SQLITE_OK
