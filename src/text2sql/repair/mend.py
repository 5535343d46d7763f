"""Repairs one query or prediction: columns first, then the literals that are compared with them."""

import logging
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from sqleval import Failure, Outcome
from sqleval.files import database_path
from text2sql.prompts import feedback_on
from text2sql.records import Prediction
from text2sql.repair.columns import Edit, moved_columns
from text2sql.repair.literals import Literal, compared_literals
from text2sql.repair.values import folded, is_stored, spellings
from text2sql.schema import Schema, open_readonly, read_schema
from text2sql.sql.statement import Statement, read_statement

logger = logging.getLogger("text2sql.repair")
_SECONDS = 1.0
Answered = TypeVar("Answered", bound=Prediction)


@dataclass(frozen=True)
class Repaired:
    """The query after repair, and what was changed in words; no changes, and the text is as it was."""

    sql: str
    changes: tuple[str, ...] = ()


def repair(sql: str, database: Path, timeout: float = _SECONDS) -> Repaired:
    """Repair a query about a database file (see :func:`moved_columns` and :func:`respelled`).

    Text that is not one statement that can be read stays as it is. ``timeout`` bounds the reading of one column's
    values in seconds. The query itself is not run.

    Raises:
        UserError: the database is missing or is not SQLite.
    """
    statement = read_statement(sql)
    if statement.kind != "select":
        return Repaired(sql)
    schema = database_schema(database)
    moved = _changed(sql, moved_columns(statement, schema))
    return _changed(moved.sql, respelled(read_statement(moved.sql), schema, database, timeout), moved.changes)


def respelled(statement: Statement, schema: Schema, database: Path, timeout: float) -> list[Edit]:
    """A literal that its column does not store takes the spelling of the only value that differs in case or accents.

    A query without a capital letter is left alone: it was put into lower case as a whole, so its literals are no slips.
    Some golds of Spider are like that, and right by what they give.
    """
    edits: list[Edit] = []
    if not any(map(str.isupper, statement.sql)):
        return edits
    for literal in compared_literals(statement, schema):
        known = spellings(database, literal.table, literal.column, timeout) or {}
        values = known.get(folded(literal.text), ())
        if len(values) == 1 and values[0] != literal.text and "\0" not in values[0]:
            words = f"{literal.table}.{literal.column}: {literal.text!r} -> {values[0]!r}: the spelling that is stored"
            text = "'" + values[0].replace("'", "''") + "'"
            edits.append(Edit(literal.start, literal.end, text, words))
    return edits


def unstored(sql: str, database: Path, timeout: float = _SECONDS) -> list[Literal]:
    """The literals of a query that are known not to be stored in the columns that they are compared with.

    Raises:
        UserError: the database is missing or is not SQLite.
    """
    literals = compared_literals(read_statement(sql), database_schema(database))
    return [literal for literal in literals if is_stored(database, literal, timeout) is False]


def feedback(sql: str, outcome: Outcome, database: Path, gold: Outcome | None = None) -> str:
    """What a model is told of its query before it revises it: :func:`text2sql.prompts.feedback_on`, with unstored literals."""
    missing = [] if isinstance(outcome, Failure) else unstored(sql, database)
    return feedback_on(outcome, [f"{one.text!r} in {one.table}.{one.column}" for one in missing], gold)


def repaired(row: Answered, database_root: Path) -> Answered:
    """A prediction with its SQL repaired; a changed one keeps the text before in ``raw``, and every change is logged.

    Raises:
        UserError: the database is missing or is not SQLite.
    """
    result = repair(row.pred, database_path(database_root, row.db_id))
    for change in result.changes:
        logger.info("%s, sample %d: %s", row.question_id, row.sample, change)
    return replace(row, pred=result.sql, raw=row.raw or row.pred, repairs=result.changes) if result.changes else row


def _changed(sql: str, edits: list[Edit], before: tuple[str, ...] = ()) -> Repaired:
    """The text with edits made, unless it can then not be read any more."""
    text = sql
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    if text == sql or read_statement(text).tree is None:
        return Repaired(sql, before)
    return Repaired(text, before + tuple(dict.fromkeys(edit.words for edit in edits)))


def database_schema(database: Path) -> Schema:
    """The schema of a database file, kept until the file changes.

    Raises:
        UserError: it is missing or is not SQLite.
    """
    stat = database.stat() if database.is_file() else None
    return _schema(database, (stat.st_mtime_ns, stat.st_size) if stat else None)


@lru_cache(maxsize=256)
def _schema(database: Path, changed: tuple[int, int] | None) -> Schema:
    with closing(open_readonly(database)) as connection:
        return read_schema(connection)
