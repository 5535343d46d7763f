"""From predictions and examples to a report and, when asked, a ledger row."""

import json
import logging
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sqleval import Evaluator, Protocol, Verdict, hardness
from text2sql import ledger
from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.evaluate.options import EvaluateOptions
from text2sql.evaluate.report import LEVELS, Report, Score, wilson
from text2sql.predictions import provenance
from text2sql.records import Example, Prediction, read_jsonl, write_jsonl

logger = logging.getLogger(__name__)


@dataclass
class _Judged:
    example: Example
    difficulty: str
    rows: list[tuple[Prediction, Verdict]] = field(default_factory=list)

    @property
    def verdicts(self) -> list[Verdict]:
        return [verdict for _, verdict in self.rows]

    @property
    def mean(self) -> float:
        return sum(verdict.correct for verdict in self.verdicts) / len(self.rows)


def evaluate(options: EvaluateOptions) -> Report:
    """Score, write ``report.json`` and ``verdicts.jsonl`` to ``output_dir``, and append the ledger row if one is asked for.

    Raises:
        UserError: examples, predictions or databases are missing, or do not belong together.
    """
    started = time.monotonic()
    _check_output(options)
    examples = list(read_jsonl(options.examples, Example))[: options.limit]
    if not examples:
        raise UserError(f"{options.examples}: no examples in it")
    predictions = pair(examples, options.predictions)
    _check_databases(options.database_root, {example.db_id for example in examples})
    protocol = _protocol(options)
    items = [(example, row) for example in examples for row in predictions[example.question_id]]
    judged = {
        example.question_id: _Judged(example, example.difficulty or hardness(example.sql)) for example in examples
    }
    for (example, row), verdict in zip(items, _judge(options, protocol, items), strict=True):
        judged[example.question_id].rows.append((row, verdict))
    report = _report(options, protocol, list(judged.values()), time.monotonic() - started)
    _write(options.output_dir, report, list(judged.values()))
    if options.experiment:
        ledger.append(options.ledger, _row(options, report, options.experiment))
        logger.info("ledger: %s, seed %d -> %s", options.experiment, options.seed, options.ledger)
    return report


def pair(examples: Sequence[Example], path: Path) -> dict[str, list[Prediction]]:
    """Predictions by question, samples in order.

    Raises:
        UserError: a question has no prediction, one is there twice, or questions differ in how many samples they have.
    """
    found: dict[str, dict[int, Prediction]] = defaultdict(dict)
    if not path.is_file():
        raise UserError(f"{path}: no such predictions; run inference first (bash scripts/infer_vllm.sh RECIPE)")
    for row in read_jsonl(path, Prediction):
        if row.sample in found[row.question_id]:
            raise UserError(f"{path}: question {row.question_id!r} has sample {row.sample} twice")
        found[row.question_id][row.sample] = row
    missing = [example.question_id for example in examples if example.question_id not in found]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of {len(examples)} questions have no prediction (first: {missing[0]}); "
            "finish inference, or give both the same examples and limit"
        )
    chosen = {e.question_id: [row for _, row in sorted(found[e.question_id].items())] for e in examples}
    for example in examples:
        other = chosen[example.question_id][0].db_id
        if other != example.db_id:
            raise UserError(
                f"{path}: question {example.question_id!r} is about {example.db_id}, its prediction about {other}"
            )
    if len({len(rows) for rows in chosen.values()}) > 1:
        raise UserError(f"{path}: questions differ in their number of samples; finish inference first")
    return chosen


def _check_output(options: EvaluateOptions) -> None:
    try:
        if options.experiment:
            ledger.check_names(options.experiment, options.profile)
        options.output_dir.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        raise UserError(f"no ledger row can be written: {error}") from error
    except OSError as error:
        raise UserError(f"{options.output_dir}: cannot be written ({error.strerror}); correct output_dir") from error


def _protocol(options: EvaluateOptions) -> Protocol:
    try:
        return Protocol(options.protocol, plug_value=options.plug_value, keep_distinct=options.keep_distinct)
    except ValueError as error:
        raise UserError(str(error)) from error


def _check_databases(root: Path, names: Iterable[str]) -> None:
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of databases; prepare the data, or correct database_root")
    missing = sorted(name for name in names if not any((root / name).glob("*.sqlite")))
    if missing:
        raise UserError(
            f"{root}: no database for {', '.join(missing[:5])}{' ...' * (len(missing) > 5)}; correct database_root"
        )


def _judge(options: EvaluateOptions, protocol: Protocol, items: list[tuple[Example, Prediction]]) -> list[Verdict]:
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with (
        Evaluator(options.database_root, protocol, jobs=options.jobs, timeout=options.timeout) as evaluator,
        Progress(*columns) as progress,
    ):
        task = progress.add_task("scoring", total=len(items))
        triples = [(example.db_id, example.sql, row.pred) for example, row in items]
        return evaluator.score_batch(triples, lambda done: progress.advance(task, done))


def _score(judged: Sequence[_Judged]) -> Score:
    correct = sum(item.mean for item in judged)
    low, high = wilson(correct, len(judged))
    return Score(len(judged), round(correct, 6), correct / len(judged), low, high)


def _report(options: EvaluateOptions, protocol: Protocol, judged: list[_Judged], seconds: float) -> Report:
    verdicts = [verdict for item in judged for verdict in item.verdicts]
    levels = sorted(
        {item.difficulty for item in judged}, key=lambda name: (LEVELS.index(name) if name in LEVELS else 9, name)
    )
    note = provenance(options.predictions) or {}
    report = Report(
        protocol=protocol.label,
        split=options.split or judged[0].example.split,
        decoding=options.decoding or str(note.get("decoding_words", "unknown")),
        samples=len(judged[0].verdicts),
        overall=_score(judged),
        by_difficulty={name: _score([item for item in judged if item.difficulty == name]) for name in levels},
        outcomes=dict(Counter(verdict.outcome for verdict in verdicts).most_common()),
        error_classes=dict(
            Counter(v.error_class for v in verdicts if v.error_class and v.outcome == "error").most_common()
        ),
        oracle=sum(any(v.correct for v in item.verdicts) for item in judged) / len(judged),
        data_hash=digest(options.examples),
        seconds=round(seconds, 2),
        experiment=options.experiment,
        seed=options.seed,
    )
    bad = [item.example.question_id for item in judged if item.verdicts[0].outcome == "gold_error"]
    if bad:
        logger.warning("the gold SQL of %d questions fails (first: %s); they count as wrong", len(bad), bad[0])
    return report


def _write(folder: Path, report: Report, judged: list[_Judged]) -> None:
    def lines() -> Iterable[dict[str, object]]:
        for item in judged:
            about = {key: getattr(item.example, key) for key in ("question_id", "db_id", "question")}
            for row, verdict in item.rows:
                texts = {"difficulty": item.difficulty, "gold": item.example.sql, "pred": row.pred}
                yield about | {"sample": row.sample} | texts | asdict(verdict)

    write_jsonl(folder / "verdicts.jsonl", lines())
    path = folder / "report.json"
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _row(options: EvaluateOptions, report: Report, experiment: str) -> ledger.Row:
    metrics = {
        "execution_accuracy": report.overall.accuracy,
        "execution_accuracy_low": report.overall.low,
        "execution_accuracy_high": report.overall.high,
        "executable": 1 - report.outcomes.get("error", 0) / sum(report.outcomes.values()),
    }
    for name, score in report.by_difficulty.items():
        metrics |= {f"execution_accuracy_{name}": score.accuracy, f"n_{name}": score.n}
    if report.samples > 1:
        metrics["oracle_accuracy"] = report.oracle
    return ledger.new_row(
        experiment,
        profile=options.profile,
        seed=options.seed,
        split=report.split,
        n=report.overall.n,
        protocol=report.protocol,
        decoding=report.decoding,
        metrics={name: round(value, 6) for name, value in metrics.items()},
        data_hash=report.data_hash,
        seconds=report.seconds,
    )
