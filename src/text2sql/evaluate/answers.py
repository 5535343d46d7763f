"""The keys of evaluation recipes; predictions joined with the examples they answer, and the verdicts on them."""

import dataclasses
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sqleval import Evaluator, Protocol, Verdict
from text2sql.errors import UserError
from text2sql.ledger import LEDGER, ExperimentName
from text2sql.prompts import AnswerFormat, JudgeLanguage
from text2sql.recipe import STRICT
from text2sql.records import Example, Prediction, read_jsonl
from text2sql.repair import repaired
from text2sql.sql import load_issues

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputOptions:
    """Which questions and answers are read, and where the result goes.

    ``limit`` takes the first examples only. ``issues``: modules with issues of your own (:func:`text2sql.sql.issue`).
    """

    examples: Path
    predictions: Path
    output_dir: Path
    limit: Count | None = None
    issues: list[str] = dataclasses.field(default_factory=list)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluateOptions(InputOptions):
    """What is scored, and how.

    Process metrics do without ``database_root`` (null): nothing is executed then. ``experiment`` (a dotted name such as
    toy.base) asks for a ledger row, with the recipe's ``profile``, the training's ``seed`` and the ``split``. ``decoding``
    says in words how predictions of other programs were made; those of ``text2sql.infer`` know it. ``repair``: predictions
    are repaired first (:mod:`text2sql.repair`), and the score of what the model wrote is reported beside. ``timeout`` is the
    seconds of one prediction. ``once``: predictions that were scored in this way already are neither scored nor written
    to the ledger again.
    """

    database_root: Path | None
    protocol: Literal["spider-exec", "spider-test-suite", "bird-ex", "bird-soft-f1", "bird-ves", "strict"] = (
        "spider-exec"
    )
    plug_value: bool = False
    keep_distinct: bool = False
    repair: bool = False
    jobs: Annotated[int, Field(ge=0)] = 2
    timeout: Seconds = 5.0
    decoding: str | None = None
    experiment: ExperimentName | None = None
    profile: str = ""
    seed: int = 0
    split: str = ""
    ledger: Path = LEDGER
    once: bool = False

    def __post_init__(self) -> None:
        if self.experiment and not self.profile:
            raise ValueError("a ledger row needs a profile, for example profile=tiny")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JudgeOptions(InputOptions):
    """How answers are judged.

    ``base_urls`` are OpenAI-compatible servers, ``model`` the judge's name there (empty: the only one served), the key is
    read from ``OPENAI_API_KEY``. ``answer_format`` and ``system_prompt`` say how the completions were asked for,
    ``language`` is the judge's. ``limit`` questions are drawn at random by ``seed``, for the first may be about one
    database. A request may take ``timeout`` seconds and is sent ``retries`` times more where a server fails; a reply that
    cannot be read is asked for again, ``attempts`` times in all. ``batch_size`` requests are in flight at each server.
    """

    base_urls: Annotated[list[str], Field(min_length=1)]
    model: str = ""
    language: JudgeLanguage = "en"
    answer_format: AnswerFormat = "process"
    system_prompt: str | None = None
    attempts: Count = 3
    timeout: Seconds = 120.0
    retries: Annotated[int, Field(ge=0)] = 4
    batch_size: Count = 8
    temperature: float = 0.0
    max_new_tokens: int = 512
    enable_thinking: bool | None = False
    seed: int = 0


Pair = tuple[Example, Prediction]


@dataclasses.dataclass(frozen=True)
class Answer:
    """One prediction, the example it answers, and the verdict on it; ``raw`` is that on the SQL before repair."""

    example: Example
    prediction: Prediction
    verdict: Verdict
    raw: Verdict


def join(options: InputOptions, seed: int | None = None) -> list[Pair]:
    """Examples with their predictions, in the order of examples and samples; with ``seed``, ``limit`` of them at random.

    Raises:
        UserError: there are no examples; a question has no prediction, or one twice; or questions differ in their samples.
    """
    load_issues(options.issues)
    examples = list(read_jsonl(options.examples, Example))
    if seed is not None and options.limit is not None and options.limit < len(examples):
        chosen = sorted(random.Random(seed).sample(range(len(examples)), options.limit))
        examples = [examples[i] for i in chosen]
    examples = examples[: options.limit]
    if not examples:
        raise UserError(f"{options.examples}: no examples in it")
    found, path = _by_question(options.predictions), options.predictions
    missing = [example.question_id for example in examples if example.question_id not in found]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of {len(examples)} questions have no prediction (first: {missing[0]}); "
            "finish inference, or give both the same examples and limit"
        )
    if len({len(found[example.question_id]) for example in examples}) > 1:
        raise UserError(f"{path}: questions differ in their number of samples; finish inference first")
    pairs = [(example, row) for example in examples for _, row in sorted(found[example.question_id].items())]
    for example, row in pairs:
        if row.db_id != example.db_id:
            about = f"question {example.question_id!r} is about {example.db_id}"
            raise UserError(f"{path}: {about}, its prediction about {row.db_id}")
    return pairs


def _by_question(path: Path) -> dict[str, dict[int, Prediction]]:
    """Predictions by question and sample."""
    if not path.is_file():
        raise UserError(f"{path}: no such predictions; run inference first (bash scripts/infer_vllm.sh RECIPE)")
    found: dict[str, dict[int, Prediction]] = defaultdict(dict)
    for row in read_jsonl(path, Prediction):
        if row.sample in found[row.question_id]:
            raise UserError(f"{path}: question {row.question_id!r} has sample {row.sample} twice")
        found[row.question_id][row.sample] = row
    return found


def execute(options: EvaluateOptions) -> list[Answer]:
    """Run every prediction and its gold SQL, and compare the results by the protocol.

    Raises:
        UserError: examples, predictions or databases are missing, or do not belong together.
    """
    pairs, protocol = join(options), protocol_of(options)
    if options.database_root is None:
        raise UserError("database_root: accuracy executes SQL; set it to the folder of databases")
    check_databases(options.database_root, {example.db_id for example, _ in pairs})
    evaluator = Evaluator(options.database_root, protocol, jobs=options.jobs, timeout=options.timeout)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    if options.repair:
        pairs = [(example, repaired(row, options.database_root)) for example, row in pairs]
    triples = [(example.db_id, example.sql, row.pred) for example, row in pairs]
    changed = {i: (e.db_id, e.sql, row.raw) for i, (e, row) in enumerate(pairs) if row.raw is not None}
    with evaluator, Progress(TextColumn("scoring"), *columns) as progress:
        task = progress.add_task("scoring", total=len(triples) + len(changed))
        verdicts = evaluator.score_batch([*triples, *changed.values()], lambda done: progress.advance(task, done))
    raw = dict(zip(changed, verdicts[len(pairs) :], strict=True))
    return [Answer(*pair, verdicts[i], raw.get(i, verdicts[i])) for i, pair in enumerate(pairs)]


def protocol_of(options: EvaluateOptions) -> Protocol:
    """The evaluator's protocol that a recipe asks for.

    Raises:
        UserError: the flags do not belong to the protocol.
    """
    try:
        return Protocol(options.protocol, plug_value=options.plug_value, keep_distinct=options.keep_distinct)
    except ValueError as error:
        raise UserError(str(error)) from error


def check_databases(root: Path, names: Iterable[str]) -> None:
    """Make sure that every database is there.

    Raises:
        UserError: the folder or a database is missing.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of databases; prepare the data, or correct database_root")
    missing = sorted(name for name in names if not any((root / name).glob("*.sqlite")))
    if missing:
        shown = ", ".join(missing[:5]) + " ..." * (len(missing) > 5)
        raise UserError(f"{root}: no database for {shown}; correct database_root")
