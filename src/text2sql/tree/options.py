"""The keys of a tree recipe: how trees are grown, and what is made of them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from text2sql.artifacts import digest, digest_of
from text2sql.checkpoint.model import fingerprint
from text2sql.evaluate.answers import Count, Seconds
from text2sql.generate import Decoding, EngineSettings, check_engine
from text2sql.ledger import LEDGER, ExperimentName
from text2sql.predictions import Shard
from text2sql.prompts import AnswerFormat
from text2sql.recipe import STRICT

Share = Annotated[float, Field(ge=0, le=1)]
Strategy = Literal["distance", "deepest_correct"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PairOptions:
    """Which preference pairs are taken, and where they go.

    ``strategy``: ``distance``, or ``deepest_correct`` over the shallowest wrong attempt, the published baseline. At most
    ``per_question`` pairs of a question; no value of ``balance`` gives more than twice its even share; neither query is
    longer than ``max_chars``, nor more than ``max_length_ratio`` times the other. ``held_out`` is the share of databases
    whose pairs are for evaluation.
    """

    output_dir: Path
    name: str = "pairs"
    strategy: Strategy = "distance"
    per_question: Count = 6
    balance: Literal["difficulty", "database", "none"] = "difficulty"
    max_chars: Count = 2000
    max_length_ratio: Annotated[float, Field(ge=1)] = 4.0
    held_out: Share = 0.2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LessonOptions:
    """What teaches the revision turn.

    For each question up to ``mutants`` changed golds and ``own`` wrong attempts of the trees, each with its feedback and the
    gold as the answer; ``plain`` is the share of rows without a revision, so that the first turn is not forgotten.
    """

    output_dir: Path
    name: str = "revise"
    mutants: Annotated[int, Field(ge=0)] = 1
    own: Annotated[int, Field(ge=0)] = 2
    plain: Share = 0.5
    held_out: Share = 0.1


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScoreOptions:
    """Which reward model orders which pairs; ``experiment`` asks for a ledger row."""

    pairs: Path
    reward_model: Path
    output_dir: Path
    batch_size: Count = 32
    experiment: ExperimentName | None = None
    profile: str = ""
    seed: int = 0
    split: str = "test"
    ledger: Path = LEDGER


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TreeOptions(Decoding, EngineSettings):
    """How trees are grown; keys of :class:`Decoding` and :class:`EngineSettings` besides.

    ``root_num`` attempts are sampled for a question, and ``sample_num`` revisions of each wrong one, down to ``max_depth``.
    ``feedback: oracle`` also tells the shape of the right result. ``questions_at_once`` grow together, level by level;
    ``limit`` takes so many questions, evenly spread.
    A question that the generator fails on is asked ``tries`` times, with a pause that doubles from ``pause`` seconds.
    ``shard: i/n`` takes every n-th question from the i-th.
    """

    examples: Path
    database_root: Path
    output_dir: Path
    answer_format: AnswerFormat = "plain"
    system_prompt: str | None = None
    root_num: Count = 4
    sample_num: Count = 2
    max_depth: Annotated[int, Field(ge=0)] = 2
    feedback: Literal["shape", "oracle"] = "shape"
    questions_at_once: Count = 200
    limit: Count | None = None
    shard: str = "1/1"
    protocol: Literal["spider-exec", "spider-test-suite", "bird-ex", "strict"] = "spider-test-suite"
    jobs: Annotated[int, Field(ge=0)] = 2
    timeout: Seconds = 5.0
    tries: Count = 3
    pause: Seconds = 5.0
    pairs: PairOptions | None = None
    lessons: LessonOptions | None = None
    experiment: ExperimentName | None = None
    profile: str = ""
    ledger: Path = LEDGER

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n != 1:
            raise ValueError("a node has sample_num samples, a question root_num; leave n out")
        if not self.temperature and (self.root_num > 1 or self.sample_num > 1):
            raise ValueError(
                "several samples need temperature above 0; set root_num=1 sample_num=1, or temperature=0.8"
            )
        if self.experiment and not self.profile:
            raise ValueError("a ledger row needs a profile, for example profile=tiny")

    @property
    def path(self) -> Path:
        """The file of trees, this shard's own."""
        return Shard.parse(self.shard).path(self.output_dir / "trees.jsonl")

    def made_of(self) -> dict[str, object]:
        """What decides the trees' content, and not only the speed of making them.

        Raises:
            UserError: model, adapter or engine are missing or do not fit together.
        """
        remote = check_engine(self) == "openai"
        model, adapter = self.model_name_or_path, self.adapter_name_or_path
        keys = (
            "answer_format system_prompt root_num sample_num max_depth feedback protocol timeout enable_thinking dtype"
        )
        return {
            "model": model if remote else fingerprint(Path(model)),
            "adapter": fingerprint(adapter) if adapter and not remote else None,
            "examples": digest(self.examples),
            "database_root": self.database_root.name,
            "decoding": digest_of(self.decoding.__dict__),
            **{key: getattr(self, key) for key in keys.split()},
        }
