"""Process metrics: declared query types, thinking quality, self-assessment and issues, beside execution accuracy.

For completions in the process format (:data:`text2sql.prompts.SYSTEMS`). They measure what the process rewards measure,
but without those rewards' guards against exploitation, because nothing is optimized here.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqleval import Verdict
from text2sql.artifacts import digest
from text2sql.evaluate.answers import Answer, EvaluateOptions, execute, join, protocol_of
from text2sql.evaluate.score import write_sections
from text2sql.prompts import ask, read_answer
from text2sql.records import RewardSample
from text2sql.rewards import RewardContext, RewardSuite
from text2sql.rewards.process import declared_issues
from text2sql.sql import check_classification, classify, complexity, find_issues, read_statement
from text2sql.sql.complexity import normal_label

_SAMPLES = 10
_NOT_RUN = Verdict(False, "error", "not_run")
_EXECUTED = ("execution_accuracy", "sql_validity")
"""Metrics that need a database."""
_WRONG = ("question_id", "question", "sql", "gold", "outcome", "error_class", "issues")


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
    type_confidence: float
    gold_type: str
    declared_issues: list[str]
    issues: list[str]
    thinking_quality: float


def evaluate_process(options: EvaluateOptions) -> dict[str, Any]:
    """Measure a predictions file; returns the sections that it writes into ``evaluation_report.json`` of ``output_dir``.

    Without ``database_root`` nothing is executed, and what needs that is left out. The sections are ``summary`` in words
    and counts, ``metrics`` by name, ``samples`` of rows, and ``error_analysis``.

    Raises:
        UserError: examples, predictions or databases are missing, or do not belong together.
    """
    has_databases = options.database_root is not None
    answers = execute(options) if has_databases else [Answer(*pair, _NOT_RUN, _NOT_RUN) for pair in join(options)]
    rows = _rows(answers)
    metrics, analysis = measure(rows), analyse(rows)
    if not has_databases:
        metrics = {name: value for name, value in metrics.items() if name not in _EXECUTED}
        analysis = {name: value for name, value in analysis.items() if name == "declared_for_gold_type"}
    shown = ("execution_accuracy", "type_accuracy", "thinking_quality", "format_rate")
    summary = {
        "predictions": str(options.predictions),
        "examples": str(options.examples),
        "protocol": protocol_of(options).label if has_databases else "not executed",
        "questions": len({answer.example.question_id for answer in answers}),
        "completions": len(rows),
        **{name: metrics[name] for name in shown if name in metrics},
        "self_assessment_f1": metrics["self_assessment"]["f1"],
    }
    samples = [asdict(row) for row in rows[:_SAMPLES]]
    report = {"summary": summary, "metrics": metrics, "samples": samples, "error_analysis": analysis}
    write_sections(options.output_dir, digest(options.examples, options.predictions), report)
    return report


def _rows(answers: Sequence[Answer]) -> list[Row]:
    samples = []
    for example, row in ((answer.example, answer.prediction) for answer in answers):
        prompt = ask(example, "process")[-1]["content"]
        samples.append(RewardSample(prompt, row.text or row.pred, example))
    with RewardContext() as context:
        thinking = RewardSuite(["thinking_quality"], context).score("thinking_quality", samples).scores
    return [_row(*parts) for parts in zip(answers, samples, thinking, strict=True)]


def _row(answer: Answer, sample: RewardSample, thinking_quality: float) -> Row:
    example, verdict, sql = answer.example, answer.verdict, answer.prediction.pred
    read = read_answer(sample.completion)
    return Row(
        question_id=example.question_id,
        question=example.question,
        completion=sample.completion,
        sql=sql,
        gold=example.sql,
        outcome=verdict.outcome,
        error_class=verdict.error_class or "",
        correct=verdict.correct,
        formatted=read.format == "process",
        declared_type=normal_label(read.type),
        own_type=classify(sql).label,
        type_confidence=check_classification(sql, read.type, example.question).confidence,
        gold_type=classify(example.sql).label,
        declared_issues=sorted(declared_issues(read.issues)),
        issues=[issue.name for issue in find_issues(sql, example.question, example.schema)],
        thinking_quality=thinking_quality,
    )


def _counts(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, the most frequent first; an empty one is called none."""
    return dict(Counter(value or "none" for value in values).most_common())


def measure(rows: Sequence[Row]) -> dict[str, Any]:
    """All metrics of some completions; shares are of all completions unless their name says otherwise.

    ``type_accuracy``: the declared type is the gold's. ``type_confidence``: means of how sure the classification of the SQL
    is (:func:`text2sql.sql.check_classification`), by whether the declared type agrees with it. ``sql_validity``: the SQL
    gives a result; ``sql_parses``: it can be parsed. ``self_assessment``:
    precision, recall and F1 over all issues named and all that are there (1 where there are none of either).
    ``issue_detection_rate``: of completions with issues, those that name at least one of them. ``issue_rate``: by kind.
    """
    n, detected = len(rows), [bool({*row.declared_issues} & {*row.issues}) for row in rows if row.issues]
    return {
        "execution_accuracy": sum(row.correct for row in rows) / n,
        "sql_validity": sum(row.outcome in ("match", "mismatch") for row in rows) / n,
        "type_accuracy": sum(bool(row.declared_type) and row.declared_type == row.gold_type for row in rows) / n,
        "type_confidence": _confidence(rows),
        "sql_parses": sum(read_statement(row.sql).tree is not None for row in rows) / n,
        "thinking_quality": statistics.fmean(row.thinking_quality for row in rows),
        "format_rate": sum(row.formatted for row in rows) / n,
        "self_assessment": _assessment(rows),
        "issue_detection_rate": statistics.fmean(detected) if detected else None,
        "issue_rate": {name: count / n for name, count in Counter(i for r in rows for i in r.issues).most_common()},
        "complexity": {
            "types": _counts(row.own_type for row in rows),
            "gold_types": _counts(row.gold_type for row in rows),
            "mean": statistics.fmean(complexity(row.sql) for row in rows),
            "gold_mean": statistics.fmean(complexity(row.gold) for row in rows),
        },
        "length": _lengths([len(row.completion) for row in rows]),
    }


def _confidence(rows: Sequence[Row]) -> dict[str, float]:
    agreeing = [row for row in rows if row.declared_type and row.declared_type == row.own_type]
    groups = {"all": rows, "agreeing": agreeing, "disagreeing": [row for row in rows if row not in agreeing]}
    return {name: statistics.fmean(row.type_confidence for row in found) for name, found in groups.items() if found}


def _assessment(rows: Sequence[Row]) -> dict[str, float]:
    said = sum(len(row.declared_issues) for row in rows)
    there = sum(len(row.issues) for row in rows)
    both = sum(len({*row.declared_issues} & {*row.issues}) for row in rows)
    precision = both / said if said else float(not there)
    recall = both / there if there else float(not said)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


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
    by_type = {kind: [row for row in rows if row.gold_type == kind] for kind in sorted({row.gold_type for row in rows})}
    wrong = [row for row in rows if not row.correct]
    return {
        "outcomes": _counts(row.outcome for row in rows),
        "error_classes": _counts(row.error_class for row in rows if row.error_class),
        "declared_for_gold_type": {
            kind: _counts(row.declared_type for row in found) for kind, found in by_type.items()
        },
        "execution_accuracy_by_type": {
            kind: sum(row.correct for row in found) / len(found) for kind, found in by_type.items()
        },
        "wrong_but_called_faultless": sum(not row.declared_issues and row.formatted for row in wrong),
        "wrong": [{key: getattr(row, key) for key in _WRONG} for row in wrong[:_SAMPLES]],
    }
