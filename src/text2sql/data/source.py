"""What a data source gives the preparation: the files it reads, and rows in units of resumable size.

:mod:`.toy` is one; :mod:`.files` is one for all sources that read files of rows. :mod:`.sources` lists them by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from text2sql.records import Example


@dataclass(frozen=True)
class Rejected:
    """A row that was left out. ``reason`` is a class to count by, ``detail`` is what happened to this row."""

    question_id: str
    db_id: str
    question: str
    sql: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Unit:
    """A piece of one split that is made as a whole, and not again once it is on disk.

    ``name`` is unique in its split and fit for a file's name; ``progress`` is the share of all work (0 to 1)
    that is done when this unit is; ``work`` is what the source needs to make it, in another process perhaps.
    """

    name: str
    split: str
    progress: float
    work: Any


@dataclass(frozen=True)
class MadeRow:
    """An example, a worse query for preference pairs, and the counts of schema linking (:class:`text2sql.linking.Cut`)."""

    example: Example
    rejected_sql: str = ""
    linked: tuple[int, ...] = ()


class Source(Protocol):
    """Where examples come from. ``training_splits`` get training files; ``jobs`` is how many processes it is worth."""

    splits: tuple[str, ...]
    training_splits: tuple[str, ...]
    jobs: int

    def inputs(self) -> list[Path]:
        """The files whose change makes what was prepared out of date."""

    def units(self) -> Iterator[Unit]:
        """All units, always in the same order, each cheap to yield."""

    def make(self, unit: Unit) -> Iterator[MadeRow | Rejected]:
        """The rows of a unit."""

    def finish(self) -> list[Path]:
        """Write what goes along with the examples; returns the files that the source wrote itself."""
