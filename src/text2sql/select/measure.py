"""How right choices are, beside the greedy answer and the best there was: the only file of this room that sees a gold."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqleval import Evaluator, Protocol
from text2sql.errors import UserError
from text2sql.evaluate.score import Score, score_of
from text2sql.records import Example
from text2sql.select.candidates import Questions
from text2sql.select.vote import chosen, ranked

_SAMPLES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Line:
    """How right a way of answering is: ``greedy``, ``vote`` or ``oracle`` (any is right), with ``samples`` samples.

    ``raw`` is the score of the same choices as the model wrote them, where some were repaired.
    """

    way: str
    samples: int
    score: Score
    raw: Score | None = None

    @property
    def name(self) -> str:
        """``greedy``, ``vote_8``."""
        return f"{self.way}_{self.samples}" if self.samples else self.way

    def metrics(self) -> dict[str, float]:
        """Fractions for the ledger."""
        found = {"": self.score.accuracy, "_low": self.score.low, "_high": self.score.high}
        found |= {"_raw": self.raw.accuracy} if self.raw else {}
        return {f"execution_accuracy{name}": round(value, 6) for name, value in found.items()}


@dataclass(frozen=True)
class Measure:
    """How it is measured; ``greedy``: the first candidate of each question is the greedy answer, which is no sample."""

    database_root: Path
    protocol: str
    jobs: int
    timeout: float
    greedy: bool


def measured(examples: Sequence[Example], questions: Questions, how: Measure) -> tuple[list[Line], float]:
    """Greedy, vote and oracle with 1, 2, 4 ... samples and with all, and the seconds that judging took.

    Vote and oracle of n are over the first n samples and the greedy answer.

    Raises:
        UserError: an example has no gold SQL.
    """
    started = time.monotonic()
    right = _judged(examples, questions, how)
    changed = any(row.raw is not None for rows in questions.values() for row in rows)

    def score(answers: dict[str, str]) -> Score:
        return score_of([right[key, sql] for key, sql in answers.items()])

    lines = []
    if how.greedy:
        first = {key: rows[0] for key, rows in questions.items()}
        raw = score({key: row.raw or row.pred for key, row in first.items()}) if changed else None
        lines.append(Line("greedy", 0, score({key: row.pred for key, row in first.items()}), raw))
    n = len(next(iter(questions.values()))) - how.greedy
    for k in sorted({size for size in _SAMPLES if size < n} | {n}):
        among = {key: rows[: k + how.greedy] for key, rows in questions.items()}
        picks = {key: chosen(ranked(rows)) for key, rows in among.items()}
        raw = score({key: row.raw or row.pred for key, row in picks.items()}) if changed else None
        lines.append(Line("vote", k, score({key: row.pred for key, row in picks.items()}), raw))
        hits = [any(right[key, row.pred] for row in rows) for key, rows in among.items()]
        lines.append(Line("oracle", k, score_of(hits)))
    return lines, time.monotonic() - started


def _judged(examples: Sequence[Example], questions: Questions, how: Measure) -> dict[tuple[str, str], bool]:
    """Whether each text answers its question; equal ones are judged once."""
    if empty := next((example for example in examples if not example.sql.strip()), None):
        raise UserError(f"question {empty.question_id!r} has no gold SQL to compare with; say score=false")
    texts = {
        (example.question_id, sql): (example.db_id, example.sql, sql)
        for example in examples
        for row in questions[example.question_id]
        for sql in (row.pred, row.raw or row.pred)
    }
    with Evaluator(how.database_root, Protocol(how.protocol), how.jobs, how.timeout) as evaluator:
        verdicts = evaluator.score_batch(list(texts.values()))
    return {key: verdict.correct for key, verdict in zip(texts, verdicts, strict=True)}
