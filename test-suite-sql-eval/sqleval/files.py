"""Files on disk: where a database's instances are, opening one read-only, and writing an output file whole."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


def database_path(folder: Path, db_id: str) -> Path:
    """Where a database is, whether it exists or not."""
    return folder / db_id / f"{db_id}.sqlite"


def instances(folder: Path, db_id: str, whole_suite: bool) -> list[Path]:
    """Database files to compare on, the original first.

    Raises:
        FileNotFoundError: there is none; the message names the folder.
    """
    own = database_path(folder, db_id)
    found = sorted(path for path in (folder / db_id).glob("*.sqlite") if path != own) if whole_suite else []
    if own.is_file():
        found.insert(0, own)
    if not found:
        raise FileNotFoundError(f"no database {own}")
    return found


def side_files(database: Path) -> list[Path]:
    """Write-ahead log and rollback journal of a database, if they exist and are not empty."""
    beside = [database.with_name(database.name + end) for end in ("-wal", "-journal")]
    return [path for path in beside if path.is_file() and path.stat().st_size]


def open_readonly(database: Path, immutable: bool = True) -> sqlite3.Connection:
    """A read-only connection that any thread may use, one at a time.

    ``immutable`` opens it without locks and without its side files: their content is not read.
    """
    uri = database.absolute().as_uri() + "?mode=ro" + "&immutable=1" * immutable
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def read_columns(database: Path, views: bool = False) -> dict[str, list[str]]:
    """Lower-case columns by lower-case table, in the database's own order.

    Raises:
        sqlite3.Error: the file is not a SQLite database.
    """
    query = "SELECT m.name, lower(c.name) FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
    found: dict[str, list[str]] = {}
    with closing(open_readonly(database)) as db:
        for table, column in db.execute(query if views else f"{query} WHERE m.type = 'table'"):
            found.setdefault(str(table).lower(), []).append(str(column))
    return found


def quoted(name: str) -> str:
    """A name as SQLite's double-quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def lenient(text: bytes) -> str:
    """Text of a database without the bytes that are not UTF-8, for a connection's ``text_factory``."""
    return text.decode("utf-8", errors="ignore")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; it is synced and renamed at the end, and removed on failure.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
