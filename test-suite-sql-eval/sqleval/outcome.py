"""What running one statement can give: rows, or a failure with a class.

Types only, so that reports and rewards can speak of outcomes without loading the code that runs SQL.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

Cell = int | float | str | bytes | None
Row = tuple[Cell, ...]


class ErrorClass(StrEnum):
    """Why a statement gave no rows."""

    SYNTAX = "syntax"
    NO_SUCH_TABLE = "no_such_table"
    NO_SUCH_COLUMN = "no_such_column"
    AMBIGUOUS_COLUMN = "ambiguous_column"
    AGGREGATE_MISUSE = "aggregate_misuse"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    FORBIDDEN = "forbidden"
    MULTIPLE_STATEMENTS = "multiple_statements"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Rows:
    """A result: column names and rows in the order SQLite gave them; ``seconds`` is wall time.

    ``truncated`` says that the caller's own row limit stopped the reading. ``changed`` and ``state`` are set in
    scratch mode only: how many rows were changed, and a digest of every table's content afterwards.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    seconds: float = 0.0
    truncated: bool = False
    changed: int = 0
    state: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """No result: the class, SQLite's message, and the table or column that the message names."""

    error: ErrorClass
    message: str
    name: str = ""


Outcome = Rows | Failure

_RULES: tuple[tuple[ErrorClass, re.Pattern[str]], ...] = tuple(
    (error, re.compile(pattern, re.IGNORECASE))
    for error, pattern in (
        (ErrorClass.NO_SUCH_TABLE, r"^no such table: (.*)"),
        (ErrorClass.NO_SUCH_COLUMN, r"^(?:no such column: |cannot join using column |no such column)(.*)"),
        (ErrorClass.AMBIGUOUS_COLUMN, r"^ambiguous column name: (.*)"),
        (
            ErrorClass.AGGREGATE_MISUSE,
            r"misuse of|aggregate functions are not allowed|HAVING clause on a non-aggregate",
        ),
        (ErrorClass.TIMEOUT, r"^interrupted"),
        (
            ErrorClass.FORBIDDEN,
            r"not authorized|authorization denied|prohibited|readonly|may not be modified|unsafe use of|vtable constructor",
        ),
        (ErrorClass.MULTIPLE_STATEMENTS, r"one statement at a time"),
        (
            ErrorClass.TOO_LARGE,
            r"too big|too large|too many|too deep|too complex|too long|out of memory|parser stack"
            r"|stack overflow|at most \d+ tables|maximum depth",
        ),
        (ErrorClass.SYNTAX, r"syntax error|incomplete input|unrecognized token|null character|surrogates not allowed"),
    )
)


def classify(message: str) -> Failure:
    """The failure that a message of SQLite or of Python's sqlite3 module stands for."""
    for error, pattern in _RULES:
        found = pattern.search(message)
        if found:
            return Failure(error, message, found.group(1) if found.groups() else "")
    return Failure(ErrorClass.OTHER, message)
