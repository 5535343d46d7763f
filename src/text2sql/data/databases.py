"""The database a row is about: a file, ``CREATE TABLE`` text or an entry of tables.json; its gold SQL must run there.

Opened once and kept while rows go on using it; text is built into a database in memory, so that SQLite decides.
"""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from sqleval import Failure, execute
from text2sql.data.options import FileOptions
from text2sql.data.reading import Fault
from text2sql.errors import UserError
from text2sql.schema.descriptions import read_descriptions
from text2sql.schema.model import STYLES_WITH_DATA, Samples, Schema, read_samples, render, render_ddl
from text2sql.schema.sqlite import SchemaError, build_from_ddl, is_ddl, open_readonly, read_schema
from text2sql.schema.tables_json import read_names, read_tables_json

_OPEN = 200  # a sixth of a megabyte each; Spider's train has 146
_LONGEST_NAME = 240  # bytes; whether a file of a longer name exists is an error and not a no


def gold_failure(database: Path | bytes, sql: str, timeout: float = 10.0) -> tuple[str, str] | None:
    """Why the gold SQL gives no result on a database (reason to count by, detail), or ``None`` if it does.

    The database is a file, or what ``sqlite3.Connection.serialize`` gave.

    Raises:
        FileNotFoundError: there is no such database file.
    """
    outcome = execute(database, sql, timeout=timeout)
    return (f"gold does not run ({outcome.error})", outcome.message) if isinstance(outcome, Failure) else None


@dataclass(frozen=True)
class RowDatabase:
    """A schema and a way to run SQL on it; ``text`` is the rendering of the whole schema, ``render`` gives that of a part.

    ``failure(sql, timeout)``: as :func:`gold_failure`. ``file``, or else ``connection``, is where it lies.
    """

    schema: Schema
    text: str
    render: Callable[[Schema], str]
    failure: Callable[[str, float], tuple[str, str] | None]
    file: Path | None = None
    connection: sqlite3.Connection | None = None


class RowDatabases:
    """Finds a row's database: its file under ``database_root``, then its own tables, tables.json, ``schema``.

    Raises:
        UserError: tables.json, ``described`` or the file ``schema`` is missing or of another form.
    """

    def __init__(self, options: FileOptions) -> None:
        self.roots, self.style, self.descriptions = options.database_root, options.schema_style, options.descriptions
        self.tables = read_tables_json(options.tables) if options.tables is not None else {}
        self.names = read_names(options.tables) if options.tables is not None and options.descriptions else {}
        self.described = read_described(options.described) if options.described is not None else {}
        self.default = self._from_file(options.schema) if options.schema is not None else None
        self.open_text = lru_cache(_OPEN)(self._open_text)
        self.open_file = lru_cache(_OPEN)(self._open_file)
        self.open_entry = lru_cache(_OPEN)(lambda db_id: self._open_text(render_ddl(self.tables[db_id])))

    def find(self, db_id: str, text: str) -> RowDatabase | Fault | None:
        """The database, what is wrong with it, or None where the row names none.

        ``text`` in words that are not described gives way to a schema from elsewhere: it may be a task's sentence.
        """
        if db_id and (path := self._file(db_id)) is not None:
            return self.open_file(path)
        text = self.described.get(text) or text
        if is_ddl(text):
            return self.open_text(text)
        if db_id in self.tables:
            return self.open_entry(db_id)
        if self.default is not None:
            return self.default
        if self.roots and db_id:
            return Fault("missing database", f"{db_id}/{db_id}.sqlite")
        return self.open_text(text) if text else None

    def _file(self, db_id: str) -> Path | None:
        if Path(db_id).name != db_id or len(db_id.encode()) > _LONGEST_NAME:
            return None
        paths = (root / db_id / f"{db_id}.sqlite" for root in self.roots)
        return next((path for path in paths if path.is_file()), None)

    def _open_file(self, path: Path) -> RowDatabase | Fault:
        try:
            with closing(open_readonly(path)) as connection:
                found = self._read(connection, path)
        except UserError as error:
            return Fault("not a database", str(error))
        except sqlite3.DatabaseError as error:
            return Fault("not a database", f"{path}: {error}")
        return found if found.schema.tables else Fault("not a database", f"{path}: it has no tables")

    def _open_text(self, text: str) -> RowDatabase | Fault:
        try:
            connection = build_from_ddl(text)
        except SchemaError as error:
            return Fault("schema cannot be built", str(error))
        return self._read(connection)

    def _read(self, connection: sqlite3.Connection, file: Path | None = None) -> RowDatabase:
        schema = read_schema(connection)
        samples = read_samples(connection, schema) if self.style in STYLES_WITH_DATA else Samples()
        if self.descriptions and file is not None:
            samples.descriptions.update(self.names.get(file.stem, {}))
            samples.descriptions.update(read_descriptions(file.parent / "database_description"))
        shown = partial(render, style=self.style, samples=samples)
        run = partial(gold_failure, connection.serialize() if file is None else file)
        return RowDatabase(schema, shown(schema), shown, run, file, connection if file is None else None)

    def _from_file(self, path: Path) -> RowDatabase:
        if not path.is_file():
            raise UserError(f"{path}: no such schema file")
        with path.open("rb") as stream:
            is_database = stream.read(15) == b"SQLite format 3"
        try:
            found = self._open_file(path) if is_database else self._open_text(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 text ({error})") from error
        if isinstance(found, Fault):
            raise UserError(f"{path}: {found.reason} ({found.detail})")
        return found


def read_described(path: Path) -> dict[str, str]:
    """Schemas in words with their ``CREATE TABLE`` text (:mod:`text2sql.data.describe`), empty where there is none.

    Raises:
        UserError: no such file, or a line of another form; a last line that was cut off is removed.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; make it with text2sql describe")
    lines = path.read_bytes().split(b"\n")
    found = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            found[row["description"]] = row["ddl"]
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):
                raise UserError(f"{path}:{number}: not a described schema; remove the line or the file") from error
            if line:
                path.write_bytes(b"\n".join(lines[:-1]) + b"\n" * (number > 1))
    return found
