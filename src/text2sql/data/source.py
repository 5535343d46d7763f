"""What a data source gives the preparation: the files it reads, and rows in units of resumable size.

A row of a file is first taken apart into a :class:`RawRow`; databases are not looked at for that.
:mod:`.toy` is one; :mod:`.files` is one for all sources that read files of rows. :mod:`.sources` lists them by name.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from text2sql.data.databases import RowDatabase
from text2sql.data.options import CommonOptions
from text2sql.data.reading import Fault, Row
from text2sql.records import Example

_DAMAGED = re.compile("[\ufffd\ud800-\udfff]")  # what could not be decoded, and halves of characters
Adapter = Callable[[dict[str, Any]], Row]


class RawRow(NamedTuple):
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


PARTS = RawRow._fields


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


class Rejected(NamedTuple):
    """A row that was left out. ``reason`` is a class to count by, ``detail`` is what happened to this row."""

    question_id: str
    db_id: str
    question: str
    sql: str
    reason: str
    detail: str = ""


class Unit(NamedTuple):
    """A piece of one split that is made as a whole, and not again once it is on disk.

    ``name`` is unique in its split and fit for a file's name; ``progress`` is the share of all work (0 to 1)
    that is done when this unit is; ``work`` is what the source needs to make it, in another process perhaps.
    """

    name: str
    split: str
    progress: float
    work: Any


class Built(NamedTuple):
    """A database that preparation builds: its name, what it will hold (:data:`.building.State`), and where it comes from."""

    db_id: str
    state: str
    found: RowDatabase


class MadeRow(NamedTuple):
    """An example, a worse query for preference pairs, and the counts of schema linking (:class:`text2sql.linking.Cut`).

    ``has_database``: execution can judge answers to it; ``built``: the database made for that, if any; ``group``: what
    counts as the row's database when rows are compared and split, where that is not its ``db_id``; ``copies``: the example
    with other schemas, for training.
    """

    example: Example
    rejected_sql: str = ""
    linked: tuple[int, ...] = ()
    has_database: bool = True
    built: Built | None = None
    group: str = ""
    copies: tuple[Example, ...] = ()


class Source(Protocol):
    """Where examples come from. ``training_splits`` get training files; ``jobs`` is how many processes it is worth.

    ``database_roots`` hold ``<db_id>/<db_id>.sqlite``, once prepared.
    """

    splits: tuple[str, ...]
    training_splits: tuple[str, ...]
    jobs: int
    database_roots: list[Path]

    @property
    def options(self) -> CommonOptions:
        """The recipe's keys."""

    def inputs(self) -> list[Path]:
        """The files whose change makes what was prepared out of date."""

    def units(self) -> Iterator[Unit]:
        """All units, always in the same order, each cheap to yield."""

    def make(self, unit: Unit) -> Iterator[MadeRow | Rejected]:
        """The rows of a unit."""

    def finish(self, bases: Path) -> list[Path]:
        """Write what goes along with the examples; returns the files that the source wrote itself.

        ``bases`` is the folder of the databases that the rows asked to be built.
        """
