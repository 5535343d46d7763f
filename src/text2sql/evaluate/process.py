"""How answers come about: declared types, thinking, self-assessment, issues; beside whether the SQL is right.

For completions in the process format (:data:`text2sql.prompts.SYSTEMS`). What is measured is what the process rewards
look at, without their guards: here nobody has a reason to cheat, and each figure should stand for itself.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqleval import Verdict
from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.evaluate.options import EvaluateOptions
from text2sql.evaluate.report import write_sections
from text2sql.evaluate.score import _check_databases, _judge, _protocol, pair
from text2sql.prompts import build_messages, read_answer
from text2sql.records import Example, Prediction, RewardSample, read_jsonl
from text2sql.rewards import RewardContext, RewardSuite
from text2sql.rewards.process import declared_issues
from text2sql.sql import classify, complexity, find_issues
from text2sql.sql.complexity import normal_label

_SAMPLES = 10


@dataclass(frozen=True)
class Row:
    """One completion: what it declares, what is there, and the verdict. Issues are names; labels are empty if unknown."""

    question_id: str
    question: str
    completion: str
    sql: str
    gold: str
    outcome: str
    error_class: str
    correct: bool
    formatted: bool
    declared_type: str
    own_type: str
    gold_type: str
    declared_issues: list[str]
    issues: list[str]
    thinking_quality: float


@dataclass(frozen=True)
class ProcessReport:
    """``metrics`` by name, ``summary`` in words and counts, ``samples`` of rows, ``error_analysis`` of what went wrong."""

    summary: dict[str, Any]
    metrics: dict[str, Any]
    samples: list[dict[str, Any]]
    error_analysis: dict[str, Any]


def evaluate_process(options: EvaluateOptions) -> ProcessReport:
    """Measure a predictions file and write ``evaluation_report.json`` to ``output_dir``.

    Raises:
        UserError: examples, predictions or databases are missing, or do not belong together.
    """
    examples = list(read_jsonl(options.examples, Example))[: options.limit]
    if not examples:
        raise UserError(f"{options.examples}: no examples in it")
    predictions = pair(examples, options.predictions)
    _check_databases(options.database_root, {example.db_id for example in examples})
    items = [(example, row) for example in examples for row in predictions[example.question_id]]
    verdicts = _judge(options, _protocol(options), items)
    rows = _rows(items, verdicts)
    metrics = measure(rows)
    summary = {
        "predictions": str(options.predictions),
        "examples": str(options.examples),
        "protocol": _protocol(options).label,
        "questions": len(examples),
        "completions": len(rows),
        **{k: metrics[k] for k in ("execution_accuracy", "type_accuracy", "thinking_quality", "format_rate")},
        "self_assessment_f1": metrics["self_assessment"]["f1"],
    }
    report = ProcessReport(summary, metrics, [asdict(row) for row in rows[:_SAMPLES]], analyse(rows))
    write_sections(options.output_dir, digest(options.examples, options.predictions), asdict(report))
    return report


def _rows(items: Sequence[tuple[Example, Prediction]], verdicts: Sequence[Verdict]) -> list[Row]:
    samples = [
        RewardSample(
            build_messages(e.question, e.schema, e.evidence, "process")[-1]["content"],
            prediction.text or prediction.pred,
            e,
        )
        for e, prediction in items
    ]
    with RewardContext() as context:
        thinking = RewardSuite(["thinking_quality"], context).score("thinking_quality", samples).scores
    rows = []
    for (example, prediction), verdict, sample, quality in zip(items, verdicts, samples, thinking, strict=True):
        answer = read_answer(sample.completion)
        rows.append(
            Row(
                question_id=example.question_id,
                question=example.question,
                completion=sample.completion,
                sql=prediction.pred,
                gold=example.sql,
                outcome=verdict.outcome,
                error_class=verdict.error_class or "",
                correct=verdict.correct,
                formatted=answer.format == "process",
                declared_type=normal_label(answer.type),
                own_type=classify(prediction.pred).label,
                gold_type=classify(example.sql).label,
                declared_issues=sorted(declared_issues(answer.issues)),
                issues=[issue.name for issue in find_issues(prediction.pred, example.question, example.schema)],
                thinking_quality=quality,
            )
        )
    return rows


def measure(rows: Sequence[Row]) -> dict[str, Any]:
    """All metrics of some completions; shares are of all completions unless their name says otherwise.

    ``type_accuracy``: the declared type is the gold's. ``sql_validity``: the SQL gives a result. ``self_assessment``:
    precision, recall and F1 over all issues named and all that are there (1 where there are none of either).
    ``issue_detection_rate``: of completions with issues, those that name at least one of them. ``issue_rate``: by kind.
    """
    n = len(rows)
    return {
        "execution_accuracy": sum(row.correct for row in rows) / n,
        "sql_validity": sum(row.outcome in ("match", "mismatch") for row in rows) / n,
        "type_accuracy": sum(bool(row.declared_type) and row.declared_type == row.gold_type for row in rows) / n,
        "thinking_quality": statistics.fmean(row.thinking_quality for row in rows),
        "format_rate": sum(row.formatted for row in rows) / n,
        "self_assessment": _assessment(rows),
        "issue_detection_rate": _detection(rows),
        "issue_rate": {name: count / n for name, count in Counter(i for r in rows for i in r.issues).most_common()},
        "complexity": {
            "types": dict(Counter(row.own_type or "none" for row in rows).most_common()),
            "gold_types": dict(Counter(row.gold_type or "none" for row in rows).most_common()),
            "mean": statistics.fmean(complexity(row.sql) for row in rows),
            "gold_mean": statistics.fmean(complexity(row.gold) for row in rows),
        },
        "length": _lengths([len(row.completion) for row in rows]),
    }


def _assessment(rows: Sequence[Row]) -> dict[str, float]:
    said = sum(len(row.declared_issues) for row in rows)
    there = sum(len(row.issues) for row in rows)
    both = sum(len({*row.declared_issues} & {*row.issues}) for row in rows)
    precision = both / said if said else float(not there)
    recall = both / there if there else float(not said)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def _detection(rows: Sequence[Row]) -> float | None:
    faulty = [row for row in rows if row.issues]
    return sum(bool({*row.declared_issues} & {*row.issues}) for row in faulty) / len(faulty) if faulty else None


def _lengths(characters: Sequence[int]) -> dict[str, float]:
    """Of completions, in characters."""
    ordered = sorted(characters)
    return {
        "mean": statistics.fmean(ordered),
        "median": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "max": ordered[-1],
    }


def analyse(rows: Sequence[Row]) -> dict[str, Any]:
    """What went wrong: outcomes, error classes, which types are taken for which, accuracy by type, and wrong answers."""
    types = {row.gold_type for row in rows}
    by_type = {kind: [row.correct for row in rows if row.gold_type == kind] for kind in sorted(types)}
    wrong = [row for row in rows if not row.correct]
    return {
        "outcomes": dict(Counter(row.outcome for row in rows).most_common()),
        "error_classes": dict(Counter(row.error_class for row in rows if row.error_class).most_common()),
        "declared_for_gold_type": {
            kind: dict(Counter(row.declared_type or "none" for row in rows if row.gold_type == kind).most_common())
            for kind in sorted(types)
        },
        "execution_accuracy_by_type": {kind: sum(found) / len(found) for kind, found in by_type.items()},
        "wrong_but_called_faultless": sum(not row.declared_issues and row.formatted for row in wrong),
        "wrong": [
            {
                key: getattr(row, key)
                for key in ("question_id", "question", "sql", "gold", "outcome", "error_class", "issues")
            }
            for row in wrong[:_SAMPLES]
        ],
    }
