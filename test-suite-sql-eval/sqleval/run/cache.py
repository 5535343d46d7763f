"""Gold results, kept in memory and on disk, so that a gold statement runs once per database content.

On disk there is one SQLite file shared by all workers. It only saves time: when it is locked, damaged or full,
evaluation goes on without it. Values are marshalled rows, so keep the folder as private as your code.
"""

import hashlib
import logging
import marshal
import os
import sqlite3
from collections import OrderedDict
from pathlib import Path
from typing import Any

from sqleval.outcome import Outcome, Rows

log = logging.getLogger(__name__)

_WORTH_KEEPING_SECONDS = 0.002
_MOST_ENTRY_BYTES = 4 << 20
_MOST_FILE_BYTES = 512 << 20
_MEMORY_CELLS = 4_000_000


def default_folder() -> Path | None:
    """``$SQLEVAL_CACHE`` (``off`` for none), else ``sqleval`` in the user's cache folder."""
    setting = os.environ.get("SQLEVAL_CACHE", "")
    if setting == "off":
        return None
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(setting) if setting else Path(home) / "sqleval"


class GoldCache:
    """Outcomes by key; the least recently used leave memory when about four million cells are held."""

    def __init__(self, folder: Path | None) -> None:
        self._memory: OrderedDict[str, Outcome] = OrderedDict()
        self._cells = 0
        self._disk = None if folder is None else _open(folder / "gold.sqlite")

    def get(self, key: str) -> Outcome | None:
        """The outcome stored under ``key``, or None."""
        found = self._memory.get(key)
        if found is not None:
            self._memory.move_to_end(key)
            return found
        stored = self._ask("SELECT value FROM gold WHERE key = ?", key)
        if stored is not None:
            found = Rows(*marshal.loads(stored))
            self._remember(key, found)
        return found

    def put(self, key: str, outcome: Outcome) -> None:
        """Store an outcome; on disk only rows, and only if running the query again would take longer than reading them."""
        self._remember(key, outcome)
        if self._disk is None or not isinstance(outcome, Rows) or outcome.seconds < _WORTH_KEEPING_SECONDS:
            return
        value = marshal.dumps((outcome.columns, outcome.rows, outcome.seconds))
        if len(value) <= _MOST_ENTRY_BYTES:
            self._ask("INSERT OR REPLACE INTO gold VALUES (?, ?)", key, value)

    def _remember(self, key: str, outcome: Outcome) -> None:
        self._memory[key] = outcome
        self._cells += _cells(outcome)
        while self._cells > _MEMORY_CELLS and len(self._memory) > 1:
            self._cells -= _cells(self._memory.popitem(last=False)[1])

    def content_hash(self, path: Path) -> str:
        """SHA-256 of a database file, remembered on disk for as long as its size and time stay the same.

        Without a cache on disk, the file's path, size and time stand for its content.
        """
        stat = path.stat()
        key = f"{path.absolute()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"
        if self._disk is None:
            return key
        stored = self._ask("SELECT value FROM file WHERE key = ?", key)
        if stored is not None:
            return str(stored)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._ask("INSERT OR REPLACE INTO file VALUES (?, ?)", key, digest)
        return digest

    def _ask(self, statement: str, *values: bytes | str) -> Any:
        """First cell that a statement on the disk cache returns, or None."""
        if self._disk is None:
            return None
        try:
            row = self._disk.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            log.warning("gold cache on disk is not usable, going on without it: %s", error)
            self._disk = None
            return None
        return row[0] if row else None


def _cells(outcome: Outcome) -> int:
    return len(outcome.rows) * len(outcome.columns) if isinstance(outcome, Rows) else 0


def gold_key(content: str, sql: str, protocol: str) -> str:
    """Key of a gold result: database content, statement, protocol, and the SQLite version that ran it."""
    text = "\0".join((content, sql, protocol, sqlite3.sqlite_version))
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def _open(path: Path) -> sqlite3.Connection | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size > _MOST_FILE_BYTES:
            path.unlink()
        db = sqlite3.connect(path, isolation_level=None, timeout=2.0)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("CREATE TABLE IF NOT EXISTS gold (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        db.execute("CREATE TABLE IF NOT EXISTS file (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
    except (OSError, sqlite3.Error) as error:
        log.warning("gold cache %s is not usable, going on without it: %s", path, error)
        return None
    return db
