"""What running a statement gives (rows, or a failure with a class), and what judging a prediction gives (a verdict).

Types only, so that reports and rewards can use them without loading the code that runs SQL.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self

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

    ``changed`` and ``state`` are set by ``run_on_copy`` only: how many rows were changed, and a digest of every table's
    content afterwards.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    seconds: float = 0.0
    changed: int = 0
    state: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """No result: the class, SQLite's message, and the table or column that the message names."""

    error: ErrorClass
    message: str
    name: str = ""


Outcome = Rows | Failure

_RULES = {
    ErrorClass.NO_SUCH_TABLE: r"^no such table: (.*)",
    ErrorClass.NO_SUCH_COLUMN: r"^(?:no such column: |cannot join using column |no such column)(.*)",
    ErrorClass.AMBIGUOUS_COLUMN: r"^ambiguous column name: (.*)",
    ErrorClass.AGGREGATE_MISUSE: r"misuse of|aggregate functions are not allowed|HAVING clause on a non-aggregate",
    ErrorClass.TIMEOUT: r"^interrupted",
    ErrorClass.FORBIDDEN: r"not authorized|authorization denied|prohibited|readonly|may not be modified|unsafe use of"
    r"|vtable constructor",
    ErrorClass.MULTIPLE_STATEMENTS: r"one statement at a time",
    ErrorClass.TOO_LARGE: r"too big|too large|too many|too deep|too complex|too long|out of memory|parser stack"
    r"|stack overflow|at most \d+ tables|maximum depth",
    ErrorClass.SYNTAX: r"syntax error|incomplete input|unrecognized token|null character|surrogates not allowed",
}


def classify(message: str) -> Failure:
    """The failure that a message of SQLite or of Python's sqlite3 module stands for."""
    for error, pattern in _RULES.items():
        if found := re.search(pattern, message, re.IGNORECASE):
            return Failure(error, message, found.group(1) if found.groups() else "")
    return Failure(ErrorClass.OTHER, message)


@dataclass(frozen=True, slots=True)
class Overlap:
    """How similar a wrong result is to the gold's: shares of 1 over multisets.

    ``rows`` is the Jaccard similarity of the rows, over the columns that both results name. ``precision`` is the share
    of the prediction's cells that the gold holds, ``recall`` that of the gold's cells that the prediction holds, and
    ``cardinality`` the smaller row count over the larger (QATCH); these three are 0 where either has no rows.
    """

    rows: float
    precision: float
    recall: float
    cardinality: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one (database, gold, prediction).

    ``score`` is 1.0 or 0.0 except for graded protocols (soft F1; VES, where it is the reward, up to 1.25).
    ``error_class`` is an :class:`ErrorClass` value when the prediction gave no rows, or the gold (outcome
    ``gold_error``); ``name`` is the table or column it names. ``gold_rows`` and ``pred_rows`` are counts on the first
    instance, -1 where unknown; a prediction is read no further than its verdict needs, so a larger count is a lower
    bound. ``overlap`` is that of a mismatch on the first instance, where the evaluator was asked for it.
    """

    correct: bool
    outcome: Literal["match", "mismatch", "error", "gold_error"]
    error_class: str | None = None
    message: str = ""
    name: str = ""
    score: float = 0.0
    gold_rows: int = -1
    pred_rows: int = -1
    overlap: Overlap | None = None

    @classmethod
    def failed(cls, failure: Failure, outcome: Literal["error", "gold_error"] = "error", gold_rows: int = -1) -> Self:
        """The verdict on a prediction, or a gold, that gave no rows."""
        return cls(False, outcome, failure.error.value, failure.message, failure.name, 0.0, gold_rows)
