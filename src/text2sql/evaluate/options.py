"""The keys of evaluation recipes and of judges' recipes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from text2sql.ledger import LEDGER, ExperimentName
from text2sql.prompts import AnswerFormat, JudgeLanguage
from text2sql.recipe import STRICT

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputOptions:
    """Which questions and answers are read, and where the result goes; ``limit`` takes the first examples only."""

    examples: Path
    predictions: Path
    output_dir: Path
    limit: Count | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluateOptions(InputOptions):
    """What is scored, and how.

    ``experiment`` (a dotted name such as toy.base) asks for a ledger row, with the recipe's ``profile``, the training's
    ``seed`` and the ``split``. ``decoding`` says in words how predictions of other programs were made; those of
    ``text2sql.infer`` know it. ``timeout`` is the seconds of one prediction.
    """

    database_root: Path
    protocol: Literal["spider-exec", "spider-test-suite", "bird-ex", "bird-soft-f1", "bird-ves", "strict"] = (
        "spider-exec"
    )
    plug_value: bool = False
    keep_distinct: bool = False
    jobs: Annotated[int, Field(ge=0)] = 2
    timeout: Seconds = 5.0
    decoding: str | None = None
    experiment: ExperimentName | None = None
    profile: str = ""
    seed: int = 0
    split: str = ""
    ledger: Path = LEDGER

    def __post_init__(self) -> None:
        if self.experiment and not self.profile:
            raise ValueError("a ledger row needs a profile, for example profile=tiny")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JudgeOptions(InputOptions):
    """How answers are judged.

    ``base_urls`` are OpenAI-compatible servers, ``model`` the judge's name there (empty: the only one served), the key is
    read from ``OPENAI_API_KEY``. ``answer_format`` is the form that the completions were asked for, ``language`` the
    judge's. A request may take ``timeout`` seconds and is sent ``retries`` times more where a server fails; a reply that
    cannot be read is asked for again, ``attempts`` times in all. ``batch_size`` requests are in flight at each server.
    """

    base_urls: Annotated[list[str], Field(min_length=1)]
    model: str = ""
    language: JudgeLanguage = "en"
    answer_format: AnswerFormat = "process"
    attempts: Count = 3
    timeout: Seconds = 120.0
    retries: Annotated[int, Field(ge=0)] = 4
    batch_size: Count = 8
    temperature: float = 0.0
    max_new_tokens: int = 512
    enable_thinking: bool | None = False
    seed: int = 0
