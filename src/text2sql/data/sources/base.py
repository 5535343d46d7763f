"""What a data source owes the preparation: options, what it reads, and rows in units of resumable size.

A new source is one module beside this one with a dataclass ``Options`` (a subclass of :class:`CommonOptions`)
and a function ``open_source(options) -> Source``; the recipe's ``source`` is the module's name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from text2sql.records import Example


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """Recipe keys of every source.

    ``name`` is the prefix of the LLaMA-Factory data sets (``<name>_train``). ``max_prompt_chars`` leaves
    examples with a longer prompt out of the training files, never out of the examples that evaluation reads.
    ``seed`` shuffles the training file and whatever the source draws.
    """

    source: str
    name: str
    output: Path
    max_prompt_chars: int | None = None
    seed: int = 42


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
    """A piece of one split, made at one go and never again once made.

    ``name`` is unique in its split and fit for a file's name; ``progress`` is the share of all work (0 to 1)
    that is done when this unit is.
    """

    name: str
    split: str
    progress: float
    make: Callable[[], Iterator[Example | Rejected]]


class Source(Protocol):
    """Where examples come from. ``taught`` are the splits that get a LLaMA-Factory file."""

    splits: tuple[str, ...]
    taught: tuple[str, ...]

    def inputs(self) -> list[Path]:
        """The files whose change makes what was prepared out of date."""

    def units(self) -> Iterator[Unit]:
        """All units, always in the same order, each cheap to yield."""

    def finish(self) -> list[Path]:
        """Write what goes along with the examples; returns the files that the source wrote itself."""
