"""The keys of a selecting recipe, and the candidates that its files hold."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from text2sql.errors import UserError
from text2sql.evaluate.answers import Count, Seconds
from text2sql.generate import Decoding, EngineSettings
from text2sql.infer import read_examples
from text2sql.ledger import LEDGER, ExperimentName
from text2sql.prompts import AnswerFormat
from text2sql.recipe import STRICT
from text2sql.records import Candidate, Example, Prediction, read_jsonl
from text2sql.select.vote import Way


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReviseOptions(Decoding, EngineSettings):
    """Which model revises, and how it decodes; it should know the revision turn (``revise_sft``).

    ``which``: only answers that failed, are empty or look for what is not stored, or ``all``, which needs a reward model to
    tell whether the revision is the better one.
    """

    rounds: Count = 1
    which: Literal["suspects", "all"] = "suspects"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelectOptions:
    """What is chosen among, and how.

    ``predictions`` are files of samples: those of ``text2sql infer``, or one line of SQL for each example; ``greedy`` is one
    of the greedy answers. Results are equal by ``protocol``. ``values``: candidates whose literals are stored go first.
    ``repair``: candidates are repaired first (:mod:`text2sql.repair`). ``instances`` fuzzed databases are made, on which
    candidates must agree as well. ``reward_model``: a classifier with one score (``text2sql rm2hf``), which ``choose`` may ask;
    ``revise``: the chosen answer is revised afterwards. ``answer_format`` and ``system_prompt`` are those of the model that is
    asked. ``score``: compare the choices with the examples' gold SQL afterwards; ``experiment`` (such
    as toy.select) asks for ledger rows of that, ``<experiment>.greedy``, ``.vote_<n>`` and ``.oracle_<n>``.
    """

    examples: Path
    predictions: Annotated[list[Path], Field(min_length=1)]
    database_root: Path
    output_dir: Path
    greedy: Path | None = None
    limit: Count | None = None
    values: bool = True
    repair: bool = False
    instances: Annotated[int, Field(ge=0)] = 0
    reward_model: Path | None = None
    batch_size: Count = 32
    choose: Way = "vote"
    revise: ReviseOptions | None = None
    answer_format: AnswerFormat = "plain"
    system_prompt: str | None = None
    protocol: Literal["spider-exec", "spider-test-suite", "bird-ex", "strict"] = "spider-exec"
    jobs: Annotated[int, Field(ge=0)] = 2
    timeout: Seconds = 5.0
    score: bool = True
    experiment: ExperimentName | None = None
    profile: str = ""
    seed: int = 0
    split: str = ""
    ledger: Path = LEDGER

    def __post_init__(self) -> None:
        if self.experiment and not (self.profile and self.score):
            raise ValueError("ledger rows need a profile, for example profile=tiny, and score=true")
        if self.reward_model is None and (self.choose != "vote" or (self.revise and self.revise.which == "all")):
            raise ValueError("choose and revise.which=all need a reward_model")


Questions = dict[str, list[Candidate]]
"""Candidates by question_id, the greedy one first."""


def read_candidates(options: SelectOptions) -> tuple[list[Example], Questions]:
    """The examples, and the candidates of each, in the order of files and samples; they are not run yet.

    Raises:
        UserError: a file is missing, answers other questions, or has not the same number of samples for each.
    """
    every = read_examples(options.examples, None)
    examples = every[: options.limit]
    found: Questions = {example.question_id: [] for example in examples}
    for path in [options.greedy, *options.predictions] if options.greedy else options.predictions:
        rows = _by_question(path, every)
        counts = {len(rows.get(key, ())) for key in found}
        if counts != {1} and (path == options.greedy or len(counts) > 1 or counts == {0}):
            wanted = "one answer" if path == options.greedy else "the same number of answers"
            raise UserError(f"{path}: every question of {options.examples} needs {wanted}; finish inference first")
        for example in examples:
            for row in rows[example.question_id]:
                _check_database(path, example, row)
                place = len(found[example.question_id])
                found[example.question_id].append(
                    Candidate(row.question_id, row.db_id, row.pred, row.text, place, row.logprob, row.raw, row.repairs)
                )
    return examples, found


def _by_question(path: Path, examples: list[Example]) -> dict[str, list[Prediction]]:
    rows = list(read_jsonl(path, Prediction)) if path.suffix == ".jsonl" else _read_lines(path, examples)
    found: dict[str, list[Prediction]] = {}
    for row in sorted(rows, key=lambda row: row.sample):
        found.setdefault(row.question_id, []).append(row)
    return found


def _read_lines(path: Path, examples: list[Example]) -> list[Prediction]:
    """A file of SQL lines, each cut at its first tab as Spider's evaluator does."""
    if not path.is_file():
        raise UserError(f"{path}: no such predictions; run inference first (bash scripts/infer_vllm.sh RECIPE)")
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    if len(lines) != len(examples):
        raise UserError(f"{path}: {len(lines)} lines for {len(examples)} examples; it needs one SQL line for each")
    pairs = zip(examples, lines, strict=True)
    return [Prediction(e.question_id, e.db_id, line.split("\t")[0].strip()) for e, line in pairs]


def _check_database(path: Path, example: Example, row: Prediction) -> None:
    if row.db_id != example.db_id:
        about = f"question {example.question_id!r} is about {example.db_id}"
        raise UserError(f"{path}: {about}, its prediction about {row.db_id}")
