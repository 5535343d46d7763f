"""What a data source owes the preparation: options, what it reads, and rows in units of resumable size.

A new source is one module beside this one with a dataclass ``Options`` (a subclass of :class:`CommonOptions`)
and a function ``open_source(options) -> Source``; the recipe's ``source`` is the module's name. A source that reads
files of rows is a few lines: see :mod:`text2sql.data.files`.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic.dataclasses import dataclass

from text2sql.prompts import AnswerFormat
from text2sql.recipe import STRICT
from text2sql.records import Example

Format = Literal["messages", "alpaca", "ranking", "grpo"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CommonOptions:
    """Recipe keys of every source.

    ``name`` is the prefix of the LLaMA-Factory data sets (``<name>_train``). ``formats``: which training files are
    written (``ranking`` takes rows with a worse query, from the column ``rejected``); ``answer``: the prompt format that
    they teach. ``max_prompt_chars`` leaves examples with a longer prompt out of the training files, never out of the
    examples that evaluation reads. ``tokenizer``: a model's folder, for lengths in tokens in the report. ``jobs``:
    processes (0: one for each core). ``seed`` shuffles the training file and whatever the source draws.
    """

    source: str
    name: str
    output: Path
    formats: list[Format] = field(default_factory=lambda: ["messages"])
    answer: AnswerFormat = "plain"
    max_prompt_chars: int | None = None
    tokenizer: Path | None = None
    jobs: int = 0
    seed: int = 42


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A row that was left out. ``reason`` is a class to count by, ``detail`` is what happened to this row."""

    question_id: str
    db_id: str
    question: str
    sql: str
    reason: str
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Unit:
    """A piece of one split, made at one go and never again once made.

    ``name`` is unique in its split and fit for a file's name; ``progress`` is the share of all work (0 to 1)
    that is done when this unit is; ``work`` is what the source needs to make it, in another process perhaps.
    """

    name: str
    split: str
    progress: float
    work: Any


@dataclasses.dataclass(frozen=True)
class Made:
    """An example, a worse answer for preference pairs, and what linking counted (see :class:`text2sql.linking.Cut`)."""

    example: Example
    rejected_sql: str = ""
    linked: tuple[int, ...] = ()


class Source(Protocol):
    """Where examples come from. ``taught`` are the splits that get training files, ``jobs`` the processes it is worth."""

    splits: tuple[str, ...]
    taught: tuple[str, ...]
    jobs: int

    def inputs(self) -> list[Path]:
        """The files whose change makes what was prepared out of date."""

    def units(self) -> Iterator[Unit]:
        """All units, always in the same order, each cheap to yield."""

    def make(self, unit: Unit) -> Iterator[Made | Rejected]:
        """The rows of a unit."""

    def finish(self) -> list[Path]:
        """Write what goes along with the examples; returns the files that the source wrote itself."""
