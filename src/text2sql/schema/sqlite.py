"""Schemas read from SQLite itself: from a database file, or from ``CREATE TABLE`` text built in memory."""

import logging
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.schema.model import Column, ForeignKey, Schema, Table

logger = logging.getLogger(__name__)
_BUILD_SECONDS = 5.0
_FORBIDDEN = frozenset(
    (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_CREATE_VTABLE)
)
_TABLES = (
    "SELECT m.name FROM sqlite_master AS m JOIN pragma_table_list AS l ON l.name = m.name AND l.schema = 'main' "
    "WHERE l.type != 'shadow' AND m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY m.rowid"
)
_COLUMNS = "SELECT name, type, pk FROM pragma_table_xinfo(?) WHERE hidden != 1"


_DDL = re.compile(r"\bcreate\b[^;(]*\b(?:table|view)\b", re.IGNORECASE)


class SchemaError(ValueError):
    """Text that SQLite can build no tables from; the message is one line."""


def open_readonly(path: Path) -> sqlite3.Connection:
    """A read-only connection for our own statements (never for a model's: those go through ``sqleval``).

    Raises:
        UserError: the file is missing or is not a SQLite database.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such database file")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise UserError(f"{path}: not a SQLite database ({error})") from error
    return connection


def is_ddl(text: str) -> bool:
    """Whether a text makes tables, rather than telling of them in words."""
    return _DDL.search(text) is not None


def build_from_ddl(text: str) -> sqlite3.Connection:
    """An in-memory database with the tables (and rows, where there are INSERTs) of a DDL text.

    Text of another dialect is translated first. The statements can reach no files, and are stopped after seconds.

    Raises:
        SchemaError: no tables come of it.
    """
    try:
        return _build([text])
    except SchemaError as error:
        if "no tables" in str(error):
            raise
        first = error
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    for dialect in ("mysql", "postgres", "tsql"):
        try:
            trees = [tree for tree in sqlglot.parse(text, read=dialect) if isinstance(tree, exp.Create | exp.Insert)]
            return _build([_portable(tree).sql("sqlite") for tree in trees])
        except (SqlglotError, SchemaError, RecursionError, ValueError):
            continue
    raise first


def _portable(tree: Any) -> Any:
    """The statement without what SQLite cannot build and a prompt does not show (defaults, checks, indexes)."""
    from sqlglot import exp

    shown = (exp.PrimaryKeyColumnConstraint, exp.Reference, exp.NotNullColumnConstraint)
    for constraint in list(tree.find_all(exp.ColumnConstraint)):
        if not isinstance(constraint.kind, shown):
            constraint.pop()
    for part in list(tree.find_all(exp.Constraint, exp.CheckColumnConstraint, exp.IndexColumnConstraint)):
        if part.find(exp.PrimaryKey, exp.ForeignKey) is None:
            part.pop()
    for kind in list(tree.find_all(exp.DataType)):
        if kind.this in (exp.DataType.Type.ENUM, exp.DataType.Type.SET):
            kind.replace(exp.DataType.build("text"))
    if isinstance(tree, exp.Create):
        tree.set("properties", None)
    return tree


def _build(statements: list[str]) -> sqlite3.Connection:
    # Hundreds of these stay open while data are prepared, and a kept statement costs ten kilobytes.
    connection = sqlite3.connect(":memory:", check_same_thread=False, cached_statements=1)
    deadline = time.monotonic() + _BUILD_SECONDS
    connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action in _FORBIDDEN else sqlite3.SQLITE_OK)
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10000)
    try:
        for statement in statements:
            connection.executescript(statement)
        connection.set_authorizer(None)
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view')").fetchone():
            raise SchemaError("no tables in it")
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        connection.close()
        raise error if isinstance(error, SchemaError) else SchemaError(" ".join(str(error).split())) from error
    connection.set_progress_handler(None, 0)
    return connection


def read_schema(connection: sqlite3.Connection) -> Schema:
    """Introspect an open database; a foreign key to an undeclared column points to that table's primary key.

    Generated columns and views count, because queries can read them; the shadow tables of virtual tables do not.
    """
    info = {}
    for (name,) in connection.execute(_TABLES).fetchall():
        try:
            info[name] = connection.execute(_COLUMNS, (name,)).fetchall()
        except sqlite3.OperationalError as error:  # a virtual table of a missing module, a view of a lost table
            logger.warning("%s cannot be read and is left out of the schema (%s)", name, error)
    keys = {name: tuple(c for k, c in sorted((k, c) for c, _, k in columns if k)) for name, columns in info.items()}
    lower = {name.lower(): name for name in info}
    tables = []
    for name, declared in info.items():
        foreign = []
        rows = connection.execute(
            'SELECT "from", "table", "to", seq FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq', (name,)
        )
        for column, target, ref, seq in rows.fetchall():
            target = lower.get(target.lower())
            if target is None:
                continue
            ref = ref or (keys[target][seq] if seq < len(keys[target]) else None)
            if ref is not None:
                foreign.append(ForeignKey(column, target, ref))
        columns = tuple(Column(c, (t or "").upper()) for c, t, _ in declared)
        tables.append(Table(name, columns, keys[name], tuple(foreign)))
    return Schema(tuple(tables))


def schema_from_ddl(text: str) -> Schema:
    """The schema of a DDL text (see :func:`build_from_ddl`).

    Raises:
        SchemaError: no tables come of it.
    """
    with closing(build_from_ddl(text)) as connection:
        return read_schema(connection)
