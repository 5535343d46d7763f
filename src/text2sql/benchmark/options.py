"""The keys of a benchmark recipe."""

import re
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from text2sql.evaluate.answers import Count, Seconds
from text2sql.generate import EngineSettings
from text2sql.ledger import LEDGER, ExperimentName
from text2sql.prompts import AnswerFormat
from text2sql.recipe import STRICT

ProtocolName = Literal["spider-exec", "spider-test-suite", "bird-ex", "bird-soft-f1", "bird-ves", "strict"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Preparation:
    """How examples that are not there are made: a data recipe, and keys of it that are changed."""

    recipe: Path
    overrides: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TestSet:
    """One set of questions. ``protocols`` maps the name of a protocol to the folder of databases it is measured on; the
    first is the one that candidates vote by. ``prepare`` says how the examples are made where they are not there."""

    title: str
    examples: Path
    protocols: Annotated[dict[ProtocolName, Path], Field(min_length=1)]
    prepare: Preparation | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BenchmarkOptions(EngineSettings):
    """Which model answers which ``sets``, how, and what its figures are compared with.

    ``samples`` answers at ``temperature`` vote beside the greedy one (0: no vote); ``values``, ``repair`` and ``instances``
    are those of ``text2sql select``, and greedy answers are repaired too where ``repair`` is on. ``limit`` takes the first
    questions of each set. ``only`` names the sets to take (empty: all). ``against`` is the ``output_dir`` of another model's
    run: paired tests compare the two. ``experiment`` asks for ledger rows ``<experiment>.<set>.greedy`` and ``.vote_<n>``,
    under the first protocol's name; further protocols add theirs at the end.
    """

    output_dir: Path
    sets: Annotated[dict[str, TestSet], Field(min_length=1)]
    only: list[str] = field(default_factory=list)
    samples: Annotated[int, Field(ge=0)] = 8
    temperature: Annotated[float, Field(gt=0)] = 0.8
    max_new_tokens: int = 512
    seed: int = 0
    answer_format: AnswerFormat = "plain"
    system_prompt: str | None = None
    values: bool = True
    repair: bool = False
    instances: Annotated[int, Field(ge=0)] = 0
    limit: Count | None = None
    jobs: Annotated[int, Field(ge=0)] = 2
    timeout: Seconds = 30.0
    against: Path | None = None
    experiment: ExperimentName | None = None
    profile: str = ""
    ledger: Path = LEDGER

    def __post_init__(self) -> None:
        if unknown := [name for name in self.only if name not in self.sets]:
            raise ValueError(f"only: no set is called {unknown[0]!r}; there are {', '.join(self.sets)}")
        if self.experiment and not self.profile:
            raise ValueError("ledger rows need a profile, for example profile=tiny")
        if odd := [name for name in self.sets if not re.fullmatch("[a-z0-9_]+", name)]:
            raise ValueError(f"sets: {odd[0]!r} names folders and ledger rows; write it in lower case, digits and _")

    def engine_keys(self) -> dict[str, Any]:
        """The engine's settings, for the options of each inference."""
        return {name: getattr(self, name) for name in EngineSettings.__dataclass_fields__}
