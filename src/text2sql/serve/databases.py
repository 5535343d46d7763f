"""The databases that may be asked: SQLite files under names that the operator gave, and statements run on them.

A request names a database by looking it up in a table, so that no text of a client ever becomes part of a path. Statements run
in ``sqleval``'s worker processes, read-only and with limits.
"""

import math
import re
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqleval import Executor, Failure, Limits
from text2sql.errors import UserError
from text2sql.repair import database_schema
from text2sql.schema import Schema, open_readonly
from text2sql.schema.model import STYLES_WITH_DATA, Samples, read_samples, render
from text2sql.serve.error import ServeError
from text2sql.serve.options import ServeOptions
from text2sql.toy import build_database, load_specs

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
_TOY_SEED = 42  # that of recipes/data/toy.yaml
Cell = int | float | str | None


@dataclass(frozen=True)
class Result:
    """Rows of a statement; ``truncated`` when there are more than the limit."""

    columns: list[str]
    rows: list[list[Cell]]
    truncated: bool
    seconds: float


class Databases:
    """A context manager: worker processes stay up between statements.

    Raises:
        UserError: a name that cannot stand in an address, a file that is missing or is not SQLite, or no database at all.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options, self.limit = options, options.limits.rows
        self.files = dict(sorted(_files(options)))
        if not self.files:
            raise UserError("no database to ask: give databases={name: file.sqlite} or database_root=FOLDER")
        for name, file in self.files.items():
            if not _NAME.match(name):
                raise UserError(f"databases: {name!r}: a name has letters, digits, _ . and -, and at most 64 of them")
            if not database_schema(file).tables:
                raise UserError(f"{file}: it has no tables")
        unknown = sorted(options.questions.keys() - self.files.keys())
        if unknown:
            raise UserError(f"questions: no database {unknown[0]!r}; there are {', '.join(self.files)}")
        self._executor = Executor(min(4, options.limits.concurrency))
        self._limits = Limits(timeout=options.limits.sql_timeout, first=self.limit + 1, result_bytes=8 << 20)

    def __enter__(self) -> "Databases":
        return self

    def __exit__(self, *_error: object) -> None:
        self._executor.close()

    def file(self, name: str) -> Path:
        """The file of a registered database.

        Raises:
            ServeError: there is none of this name.
        """
        if name not in self.files:
            raise ServeError(404, "unknown_database", f"no database of this name; there are {', '.join(self.files)}")
        return self.files[name]

    def schema(self, name: str) -> Schema:
        """Tables, columns and keys, as the file has them now."""
        try:
            return database_schema(self.file(name))
        except ServeError:
            raise
        except UserError as error:
            raise ServeError(503, "database_unavailable", f"{name}: the database cannot be read now") from error

    def text(self, name: str, schema: Schema) -> str:
        """The schema, or a part of it, as the prompt shows it."""
        style, file = self.options.schema_style, self.file(name)
        samples = _samples(file, file.stat().st_mtime_ns) if style in STYLES_WITH_DATA else None
        return render(schema, style, samples)

    def run(self, name: str, sql: str) -> Result:
        """Run one statement in the sandbox.

        Raises:
            ServeError: it gives no rows: it is no SELECT, is wrong, or is over a limit.
        """
        try:
            found = self._executor.execute(self.file(name), sql, self._limits)
        except FileNotFoundError as error:
            raise ServeError(503, "database_unavailable", f"{name}: the database cannot be read now") from error
        if isinstance(found, Failure):
            raise ServeError(422, f"sql_{found.error.value}", found.message)
        rows = [[_cell(cell) for cell in row] for row in found.rows[: self.limit]]
        return Result(list(found.columns), rows, len(found.rows) > self.limit, round(found.seconds, 4))


def _files(options: ServeOptions) -> Iterator[tuple[str, Path]]:
    if options.toy_databases is not None:
        for spec in load_specs(options.toy_databases):
            file = options.toy_output / spec.db_id / f"{spec.db_id}.sqlite"
            if not file.is_file():
                build_database(spec, file, _TOY_SEED)
            yield spec.db_id, file
    if options.database_root is not None:
        if not options.database_root.is_dir():
            raise UserError(f"database_root: {options.database_root}: no such folder")
        for file in options.database_root.glob("*/*.sqlite"):
            if file.stem == file.parent.name:
                yield file.stem, file
    yield from options.databases.items()


@lru_cache(maxsize=64)
def _samples(file: Path, _changed: int) -> Samples:
    with closing(open_readonly(file)) as connection:
        return read_samples(connection, database_schema(file))


def _cell(cell: Any) -> Cell:
    """A cell as JSON has it: blobs as SQLite writes them, numbers that JSON lacks as text."""
    if isinstance(cell, bytes):
        return f"x'{cell[:64].hex()}{'...' * (len(cell) > 64)}'"
    if isinstance(cell, float) and not math.isfinite(cell):
        return str(cell)
    if isinstance(cell, str):
        with suppress(UnicodeEncodeError):
            cell.encode()
            return cell
        return cell.encode("utf-8", "replace").decode()
    return cell  # type: ignore[no-any-return]
