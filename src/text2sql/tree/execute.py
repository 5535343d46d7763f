"""Runs attempts in the evaluator's worker processes, each distinct query once, and says what a revision is told of them."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqleval import Evaluator, Failure, Limits, Outcome
from sqleval.files import database_path
from text2sql.artifacts import digest_of
from text2sql.evaluate.answers import check_databases
from text2sql.records import Example
from text2sql.repair import feedback

_LIMITS = Limits(rows=100_000, result_bytes=8 << 20)
"""Results travel from the process that runs a query; more rows than this need not be told apart."""


@dataclass(frozen=True)
class Judged:
    """What became of an attempt; the fields are those of :class:`text2sql.tree.nodes.Node`."""

    correct: bool
    error: str | None
    feedback: str
    result: str


class Judge:
    """Executes on the databases under ``database_root`` and compares with golds by ``protocol``; a context manager.

    ``oracle`` tells the shape of the right result in the feedback. ``seconds`` is the time spent here, ``executed`` the number
    of distinct queries.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(
        self, database_root: Path, protocol: str, jobs: int = 2, timeout: float = 5.0, oracle: bool = False
    ) -> None:
        check_databases(database_root, ())
        self.root, self.oracle = database_root, oracle
        self.seconds, self.executed = 0.0, 0
        self._runs = Evaluator(database_root, "spider-exec", jobs, timeout, limits=_LIMITS, cache=None)
        self._scores = Evaluator(database_root, protocol, jobs, timeout)
        self._known: dict[tuple[str, str, str], Judged] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._runs.close()
        self._scores.close()

    def judge(self, attempts: Sequence[tuple[Example, str]]) -> list[Judged]:
        """One judgement for each question and SQL, in order."""
        started = time.monotonic()
        keys = [(example.db_id, example.sql, sql) for example, sql in attempts]
        fresh = list(dict.fromkeys(key for key in keys if key not in self._known))
        self.executed += len(fresh)
        outcomes = self._runs.run_batch([(db_id, sql) for db_id, _, sql in fresh])
        ran = [key for key, outcome in zip(fresh, outcomes, strict=True) if not isinstance(outcome[0], Failure)]
        verdicts = dict(zip(ran, self._scores.score_batch(ran), strict=True))
        golds = self._golds(fresh) if self.oracle else {}
        for key, outcome in zip(fresh, outcomes, strict=True):
            correct = key in verdicts and verdicts[key].correct
            self._known[key] = self._judged(key, correct, outcome[0], golds.get(key[:2]))
        self.seconds += time.monotonic() - started
        return [self._known[key] for key in keys]

    def refused(self, examples: Sequence[Example]) -> dict[str, str]:
        """Why a gold cannot be compared with, by question_id; no entry for those that run."""
        outcomes = self._runs.run_batch([(example.db_id, example.sql) for example in examples])
        pairs = ((example, found[0]) for example, found in zip(examples, outcomes, strict=True))
        return {example.question_id: one.message for example, one in pairs if isinstance(one, Failure)}

    def forget(self) -> None:
        """Forget what was judged, so that memory does not grow with the number of questions."""
        self._known.clear()

    def _golds(self, keys: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], Outcome]:
        asked = list(dict.fromkeys(key[:2] for key in keys))
        return {one: found[0] for one, found in zip(asked, self._runs.run_batch(asked), strict=True)}

    def _judged(self, key: tuple[str, str, str], correct: bool, outcome: Outcome, gold: Outcome | None) -> Judged:
        told = "" if correct else feedback(key[2], outcome, database_path(self.root, key[0]), gold)
        if isinstance(outcome, Failure):
            return Judged(False, outcome.error.value, told, digest_of([outcome.error.value, outcome.message]))
        return Judged(correct, None, told, digest_of(sorted(map(repr, outcome.rows))))
