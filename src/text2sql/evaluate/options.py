"""The keys of an evaluation recipe."""

from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from text2sql.ledger import LEDGER
from text2sql.recipe import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluateOptions:
    """What is scored, how, and where the result goes.

    ``limit`` scores the first examples only, as in inference. ``experiment`` (a dotted name such as toy.base) asks for
    a ledger row, with the recipe's ``profile``, the training's ``seed`` and the ``split``. ``decoding`` says in words how
    predictions of other programs were made; those of ``text2sql.infer`` know it.
    """

    examples: Path
    predictions: Path
    database_root: Path
    output_dir: Path
    protocol: Literal["spider-exec", "spider-test-suite", "bird-ex", "bird-soft-f1", "bird-ves", "strict"] = (
        "spider-exec"
    )
    plug_value: bool = False
    keep_distinct: bool = False
    jobs: int = 2
    timeout: float = 5.0
    limit: int | None = None
    decoding: str | None = None
    experiment: str | None = None
    profile: str = ""
    seed: int = 0
    split: str = ""
    ledger: Path = LEDGER
