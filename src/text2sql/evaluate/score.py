"""Scores predictions by executing them: accuracy by hardness with intervals, outcomes, a report and a ledger row."""

import json
import logging
import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sqleval import Protocol, hardness
from text2sql import ledger
from text2sql.artifacts import digest, is_current, write_json, write_note
from text2sql.errors import UserError, first_complaint
from text2sql.evaluate.answers import Answer, EvaluateOptions, execute, protocol_of
from text2sql.predictions import provenance
from text2sql.records import write_jsonl

logger = logging.getLogger(__name__)

LEVELS = ("easy", "medium", "hard", "extra")
MEASURES = {"bird-soft-f1": "soft F1", "bird-ves": "R-VES"}
"""What graded protocols measure; the others measure execution accuracy."""


@dataclass(frozen=True)
class Score:
    """``correct`` of ``n`` questions (a mean over samples where there are several; the sum of grades for graded protocols)
    with its 95 % interval."""

    n: int
    correct: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Report:
    """What one evaluation found. ``oracle`` is the share of questions that any sample answers rightly; ``raw`` the score of
    what the model wrote, where predictions were repaired."""

    protocol: str
    split: str
    decoding: str
    samples: int
    overall: Score
    by_difficulty: dict[str, Score]
    outcomes: dict[str, int]
    error_classes: dict[str, int]
    oracle: float
    data_hash: str
    seconds: float
    experiment: str | None = None
    seed: int = 0
    raw: Score | None = None
    repaired: int = 0


def wilson(correct: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson, 1927), as fractions.

    Unlike the normal approximation it stays within 0 and 1 and holds for small ``n``.
    """
    z = 1.959964
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding must not put a share of 0 or 1 outside its own interval.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def read_report(path: Path) -> Report:
    """A report that :func:`evaluate` wrote.

    Raises:
        UserError: no such file, or not a report.
    """
    try:
        return TypeAdapter(Report).validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such report; evaluate first (bash scripts/evaluate_sql.sh RECIPE)") from error
    except ValidationError as error:
        raise UserError(f"{path}: not a report of text2sql.evaluate ({first_complaint(error)})") from error


def write_sections(folder: Path, data_hash: str, sections: Mapping[str, Any]) -> Path:
    """Put sections into ``evaluation_report.json``; others stay if they are about the same data, else they go."""
    path = folder / "evaluation_report.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        kept = None
    same = isinstance(kept, dict) and kept.get("data_hash") == data_hash
    write_json(path, {"data_hash": data_hash, **(kept if same else {}), **sections})
    logger.info("report: %s", path)
    return path


_NOTE = "report.meta.json"


def evaluate(options: EvaluateOptions) -> Report:
    """Score, write ``report.json`` and ``verdicts.jsonl`` to ``output_dir``, and append the ledger row if one is asked for.

    Raises:
        UserError: examples, predictions or databases are missing, or do not belong together.
    """
    started = time.monotonic()
    made_of = _made_of(options)
    scored = options.output_dir / "report.json"
    if options.once and scored.is_file() and is_current(options.output_dir / _NOTE, made_of):
        logger.info("already scored: %s", scored)
        return read_report(scored)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    questions: dict[str, list[Answer]] = {}
    for answer in execute(options):
        questions.setdefault(answer.example.question_id, []).append(answer)
    levels = {key: found[0].example.difficulty or hardness(found[0].example.sql) for key, found in questions.items()}
    report = _report(options, list(questions.values()), list(levels.values()), time.monotonic() - started)
    rows = (_verdict_row(answer, levels[key]) for key, found in questions.items() for answer in found)
    write_jsonl(options.output_dir / "verdicts.jsonl", rows)
    write_json(scored, asdict(report))
    logger.info("report: %s, every answer's verdict: %s", scored, options.output_dir / "verdicts.jsonl")
    if options.experiment:
        ledger.append(options.ledger, _ledger_row(options, report, options.experiment))
        logger.info("ledger: %s, seed %d -> %s", options.experiment, options.seed, options.ledger)
    write_note(options.output_dir / _NOTE, made_of)
    return report


def _made_of(options: EvaluateOptions) -> dict[str, object]:
    """What the report and the ledger row depend on."""
    speed_and_places = {"jobs", "once", "examples", "predictions", "output_dir"}
    how = {key: value for key, value in asdict(options).items() if key not in speed_and_places}
    files = {"examples": options.examples, "predictions": options.predictions}
    return {**how, **{name: digest(path) if path.is_file() else "" for name, path in files.items()}}


def score_of(shares: Sequence[float]) -> Score:
    """The score of questions of which each was answered rightly by a share of its answers (0 or 1 where it has one).

    Graded protocols give grades in place of shares; those of R-VES may be above 1, and the interval is then that of a mean.
    """
    n, correct = len(shares), sum(shares)
    if max(shares) <= 1:
        low, high = wilson(correct, n)
    else:
        half = 1.959964 * statistics.pstdev(shares) / math.sqrt(n)
        low, high = max(0.0, correct / n - half), correct / n + half
    return Score(n, round(correct, 6), correct / n, low, high)


def _score(questions: Sequence[Sequence[Answer]], protocol: Protocol, raw: bool = False) -> Score:
    verdicts = [[answer.raw if raw else answer.verdict for answer in found] for found in questions]
    return score_of([sum(map(protocol.value, found)) / len(found) for found in verdicts])


def _report(options: EvaluateOptions, questions: list[list[Answer]], levels: list[str], seconds: float) -> Report:
    """Counts over all questions, and over those of each hardness; ``levels`` are the questions' own."""
    verdicts = [answer.verdict for found in questions for answer in found]
    errors = Counter(v.error_class for v in verdicts if v.error_class and v.outcome == "error")
    changed = sum(answer.prediction.raw is not None for found in questions for answer in found)
    known = sorted(set(levels), key=lambda name: (LEVELS.index(name) if name in LEVELS else 9, name))
    bad = [found[0].example.question_id for found in questions if found[0].verdict.outcome == "gold_error"]
    if bad:
        logger.warning("the gold SQL of %d questions fails (first: %s); they count as wrong", len(bad), bad[0])
    protocol = protocol_of(options)
    return Report(
        protocol=protocol.label,
        split=options.split or questions[0][0].example.split,
        decoding=options.decoding or str((provenance(options.predictions) or {}).get("decoding_words", "unknown")),
        samples=len(questions[0]),
        overall=_score(questions, protocol),
        by_difficulty={
            name: _score([found for found, level in zip(questions, levels, strict=True) if level == name], protocol)
            for name in known
        },
        outcomes=dict(Counter(verdict.outcome for verdict in verdicts).most_common()),
        error_classes=dict(errors.most_common()),
        oracle=sum(any(a.verdict.correct for a in found) for found in questions) / len(questions),
        data_hash=digest(options.examples),
        seconds=round(seconds, 2),
        experiment=options.experiment,
        seed=options.seed,
        raw=_score(questions, protocol, raw=True) if changed or options.repair else None,
        repaired=changed,
    )


def _verdict_row(answer: Answer, difficulty: str) -> dict[str, object]:
    example, row = answer.example, answer.prediction
    return {
        "question_id": example.question_id,
        "db_id": example.db_id,
        "question": example.question,
        "sample": row.sample,
        "difficulty": difficulty,
        "gold": example.sql,
        "pred": row.pred,
        **({"raw": row.raw, "raw_correct": answer.raw.correct, "repairs": row.repairs} if row.raw is not None else {}),
        **asdict(answer.verdict),
    }


def _ledger_row(options: EvaluateOptions, report: Report, experiment: str) -> ledger.Row:
    measure = MEASURES.get(options.protocol, "execution accuracy").replace(" ", "_").replace("-", "_").lower()
    metrics = {
        measure: report.overall.accuracy,
        f"{measure}_low": report.overall.low,
        f"{measure}_high": report.overall.high,
        "executable": 1 - report.outcomes.get("error", 0) / sum(report.outcomes.values()),
    }
    for name, score in report.by_difficulty.items():
        metrics |= {f"{measure}_{name}": score.accuracy, f"n_{name}": score.n}
    if report.raw is not None:
        metrics[f"{measure}_raw"] = report.raw.accuracy
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
