"""Databases for rows that bring tables but no database, because rewards that execute SQL need one for every row.

A database has the rows that came with its tables. One without any is filled with rows whose values surround the literals of
the gold queries about it, so that the queries have results, or stays empty where the recipe wants that.
"""

import json
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from rich.progress import track

from sqleval.suite.fuzz import Fuzzer
from text2sql.artifacts import whole_path
from text2sql.data.databases import RowDatabase
from text2sql.data.normal import digest
from text2sql.data.source import Built
from text2sql.records import Example
from text2sql.schema.model import quote, render_ddl
from text2sql.schema.sqlite import build_from_ddl, is_ddl

State = Literal["given", "filled", "empty"]
"""What a built database holds: the rows that came with its tables or file, drawn ones, or none."""


def plan_database(found: RowDatabase, db_id: str, text: str, fill: bool) -> Built:
    """The database to build of what was found for a row; equal tables and rows give equal names.

    ``text`` is the row's own schema; where it brings no rows, only the tables count.
    """
    stem = "".join(c if c.isalnum() or c in "_-" else "_" for c in db_id)[:60]
    if found.file is not None:
        return Built(stem or found.file.stem, "given", found)
    assert found.connection is not None
    given = _has_rows(found.connection)
    content = digest(text if given and is_ddl(text) else render_ddl(found.schema))
    return Built(f"{stem or 'schema'}-{content:016x}", "given" if given else "filled" if fill else "empty", found)


def _has_rows(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return any(connection.execute(f"SELECT 1 FROM {quote(name)} LIMIT 1").fetchone() for (name,) in tables)


def save_base(built: Built, folder: Path) -> None:
    """Write a database as its tables (or file) came, once."""
    target = folder / f"{built.db_id}.sqlite"
    if target.is_file():
        return
    with whole_path(target) as partial:
        if built.found.file is not None:
            shutil.copyfile(built.found.file, partial)
            return
        with closing(sqlite3.connect(partial)) as out:
            if built.state == "given":
                assert built.found.connection is not None
                built.found.connection.backup(out)
            else:
                with closing(build_from_ddl(render_ddl(built.found.schema))) as made:
                    made.backup(out)


def read_built(path: Path) -> Iterator[tuple[Example, str]]:
    """The examples of a prepared file whose databases were built, each with its database's state."""
    adapter = TypeAdapter(Example)
    with path.open("rb") as lines:
        for row in map(json.loads, lines):
            if "database" in row:
                yield adapter.validate_python(row), row["database"]


def finish_databases(examples: Iterable[tuple[Example, str]], bases: Path, target: Path) -> list[Path]:
    """Write the databases that ``examples`` (each with its database's state) are about, and return them.

    The same bases and golds give the same databases.
    """
    golds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for example, state in examples:
        golds[example.db_id, state].append(example.sql)
    written = []
    for (db_id, state), queries in track(golds.items(), "building databases", transient=True):
        path = target / db_id / f"{db_id}.sqlite"
        with whole_path(path) as partial:
            if state == "filled":
                fuzzer = Fuzzer(bases / f"{db_id}.sqlite", queries, named=True)
                partial.write_bytes(fuzzer.instance(digest(db_id)))
            else:
                shutil.copyfile(bases / f"{db_id}.sqlite", partial)
        written.append(path)
    return written
