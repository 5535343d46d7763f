"""How right choices are, beside the greedy answer and the best there was: the only file of this room that sees a gold."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqleval import Evaluator, Protocol
from text2sql.errors import UserError
from text2sql.evaluate.score import Score, score_of
from text2sql.records import Candidate, Example
from text2sql.select.candidates import Questions
from text2sql.select.vote import Way, choose

_WAYS: dict[Way, str] = {"vote": "vote", "reward_model": "rm_best_of", "weighted": "weighted_vote"}
_SAMPLES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Line:
    """How right a way of answering is, with ``samples`` samples.

    ``greedy``; ``random`` (one of the samples, the mean over all); ``vote``, ``rm_best_of`` (the highest score of a reward
    model) and ``weighted_vote`` (both), each within the best standing; ``oracle`` (any is right); ``revised``, where
    ``samples`` counts rounds.

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

    @property
    def title(self) -> str:
        """``vote of 8``."""
        words = self.way.removesuffix("_of").replace("_", " ")
        return f"{words} {'after' if self.way == 'revised' else 'of'} {self.samples}" if self.samples else words

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


def measured(
    examples: Sequence[Example], questions: Questions, how: Measure, rounds: Sequence[dict[str, Candidate]] = ()
) -> tuple[list[Line], float]:
    """Every way of answering with 1, 2, 4 ... samples and with all, and the seconds that judging took.

    Votes and oracle of n are over the first n samples and the greedy answer. ``rounds``: the answers after each revision.

    Raises:
        UserError: an example has no gold SQL.
    """
    started = time.monotonic()
    every = {key: [*rows, *(answers[key] for answers in rounds)] for key, rows in questions.items()}
    right = _judged(examples, every, how)
    ways: list[Way] = ["vote"]
    if next(iter(questions.values()))[0].score is not None:
        ways += ["reward_model", "weighted"]
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
        drawn = {key: rows[how.greedy : k + how.greedy] for key, rows in questions.items()}
        lines.append(
            Line("random", k, score_of([sum(right[key, r.pred] for r in rows) / k for key, rows in drawn.items()]))
        )
        for way in ways:
            picks = {key: choose(rows, way) for key, rows in among.items()}
            raw = score({key: row.raw or row.pred for key, row in picks.items()}) if changed else None
            lines.append(Line(_WAYS[way], k, score({key: row.pred for key, row in picks.items()}), raw))
        hits = [any(right[key, row.pred] for row in rows) for key, rows in among.items()]
        lines.append(Line("oracle", k, score_of(hits)))
    for number, answers in enumerate(rounds, 1):
        lines.append(Line("revised", number, score({key: row.pred for key, row in answers.items()})))
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
