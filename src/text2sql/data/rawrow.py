"""A row of a file as named parts, or what is wrong with it; databases are not looked at here."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from text2sql.data.reading import Fault

_DAMAGED = re.compile("[\ufffd\ud800-\udfff]")  # what could not be decoded, and halves of characters
Adapter = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class RawRow:
    """The parts of a row, as texts; only ``question`` and ``sql`` are never empty."""

    question: str
    sql: str
    db_id: str = ""
    schema: str = ""
    evidence: str = ""
    difficulty: str = ""
    question_id: str = ""
    reasoning: str = ""
    kind: str = ""
    rejected: str = ""


PARTS = tuple(field.name for field in fields(RawRow))


def raw_row(row: dict[str, Any], columns: dict[str, str]) -> RawRow | Fault:
    """The row's parts from its ``columns`` (part -> column): whole UTF-8 text, question and SQL not empty."""
    found: dict[str, str] = {}
    for part, column in columns.items():
        value = row.get(column)
        if isinstance(value, int) and part in ("db_id", "question_id"):
            value = str(value)
        if isinstance(value, str):
            if not value.isascii() and _DAMAGED.search(value):
                return Fault("damaged text", f"{column!r} is not whole UTF-8 text")
            found[part] = value.strip().replace("\0", "")
        elif value is not None:
            return Fault("wrong type", f"{column!r} should be str, found {type(value).__name__}")
    for part in ("question", "sql"):
        column = columns.get(part, part)
        if not found.get(part):
            if column in row:
                return Fault("empty value", f"{column!r} is empty")
            return Fault("missing key", f"no key {column!r}; found {', '.join(map(repr, row)) or 'none'}"[:300])
    return RawRow(**found)
