"""Statements that write, run on a throw-away copy in memory.

For rewards that judge INSERT, UPDATE or DELETE by what they leave behind, and for reproducing what a writable
connection would have answered. The file on disk is only ever read.
"""

import hashlib
import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

from sqleval.outcome import ErrorClass, Failure, Outcome, Rows, classify
from sqleval.sandbox import DEFAULT, Limits, authorize_reading, fetch, guard

_WRITING = frozenset((sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE))
_NEVER = frozenset((sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH))
# These reach beyond the copy's own connection.
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
    if not Path(database).is_file():
        raise FileNotFoundError(f"{database}: no such database")
    start = time.monotonic()
    deadline = start + (limits.timeout if timeout is None else timeout)
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        source = sqlite3.connect(f"file:{quote(str(Path(database).absolute()))}?mode=ro&immutable=1", uri=True)
        try:
            source.backup(db)
        finally:
            source.close()
        guard(db, limits)
        db.text_factory = lambda text: text.decode("utf-8", errors="ignore")
        db.set_authorizer(_authorize_everything if everything else _authorize_writing)
        db.set_progress_handler(lambda: time.monotonic() > deadline, 1000)
        return _run(db, sql, limits, start)
    except MemoryError:
        return Failure(ErrorClass.TOO_LARGE, "out of memory")
    except (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError, OverflowError) as error:
        return classify(str(error))
    finally:
        db.close()


def _run(db: sqlite3.Connection, sql: str, limits: Limits, start: float) -> Outcome:
    before = db.total_changes
    outcome = fetch(db, sql, limits, start, None)
    silent = isinstance(outcome, Failure) and outcome.error is ErrorClass.SYNTAX and "gives rows" in outcome.message
    if isinstance(outcome, Failure) and not silent:
        return outcome
    rows = outcome.rows if isinstance(outcome, Rows) else []
    columns = outcome.columns if isinstance(outcome, Rows) else ()
    changed = db.total_changes - before
    db.set_progress_handler(None, 0)
    db.set_authorizer(None)
    return Rows(columns, rows, time.monotonic() - start, changed=changed, state=content_digest(db))


def content_digest(db: sqlite3.Connection) -> str:
    """SHA-256 over all tables' names, columns and rows, independent of row order and of rowids."""
    digest = hashlib.sha256()
    tables = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for name, definition in tables:
        quoted = '"' + str(name).replace('"', '""') + '"'
        rows = sorted(repr(row) for row in db.execute(f"SELECT * FROM {quoted}"))
        digest.update(repr((name, definition, rows)).encode("utf-8", errors="surrogatepass"))
    return digest.hexdigest()


def _authorize_writing(
    action: int, name: str | None, other: str | None, database: str | None, source: str | None
) -> int:
    if action in _WRITING and not (name or "").lower().startswith("sqlite_"):
        return sqlite3.SQLITE_OK
    return authorize_reading(action, name, other, database, source)


def _authorize_everything(
    action: int, name: str | None, other: str | None, database: str | None, source: str | None
) -> int:
    if action in _NEVER or (action == sqlite3.SQLITE_PRAGMA and str(name).lower() in _PROCESS_WIDE):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION:
        return authorize_reading(action, name, other, database, source)
    return sqlite3.SQLITE_OK
