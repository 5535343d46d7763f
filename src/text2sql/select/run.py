"""Runs the candidates of many questions, each distinct query once, and groups them by equal results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from sqleval import Evaluator, Failure, Limits, Outcome, Protocol
from sqleval.compare.rewrite import is_ordered
from sqleval.compare.rules import equal
from sqleval.files import database_path
from text2sql.records import Candidate, Standing
from text2sql.repair import feedback, unstored

_LIMITS = Limits(rows=100_000, result_bytes=8 << 20)
"""Results travel from the process that runs a query, and those of a batch of questions are held at once."""


class Runner:
    """Groups candidates by their results on ``database_root`` and, where there are any, on fuzzed ``instances``.

    ``protocol`` says which results are equal. Of a test suite beside a database nothing is looked at, because suites are
    made from golds. ``values`` asks whether literals are stored. A context manager: worker processes stay up between calls.
    """

    def __init__(
        self,
        database_root: Path,
        protocol: str = "spider-exec",
        *,
        instances: Path | None = None,
        values: bool = True,
        jobs: int = 2,
        timeout: float = 5.0,
    ) -> None:
        self.root, self.values, self.timeout = database_root, values, timeout
        self.protocol = Protocol("spider-exec" if protocol == "spider-test-suite" else protocol)
        self._runs = Evaluator(database_root, self.protocol, jobs, timeout, limits=_LIMITS, cache=None)
        self._fuzzed = None
        if instances is not None:
            suite = Protocol("spider-test-suite")
            self._fuzzed = Evaluator(instances, suite, jobs, timeout, limits=_LIMITS, cache=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._runs.close()
        if self._fuzzed is not None:
            self._fuzzed.close()

    def run(
        self, questions: Sequence[Sequence[Candidate]], progress: Callable[[int], None] | None = None
    ) -> list[list[Candidate]]:
        """The candidates with group and standing; ``progress`` counts executed candidates."""
        items = {(row.db_id, row.pred): None for rows in questions for row in rows}
        results = dict(zip(items, self._runs.run_batch(list(items), progress), strict=True))
        if self._fuzzed is not None:
            again = [item for item in items if not isinstance(results[item][-1], Failure) and self._has_instances(item)]
            for item, more in zip(again, self._fuzzed.run_batch(again), strict=True):
                results[item] = results[item] + more
        return [self._grouped(rows, results) for rows in questions]

    def feedback(self, rows: Sequence[Candidate]) -> list[str]:
        """What a model is told of each answer before it revises it."""
        outcomes = self._runs.run_batch([(row.db_id, row.pred) for row in rows])
        pairs = zip(rows, outcomes, strict=True)
        return [feedback(row.pred, found[0], database_path(self.root, row.db_id)) for row, found in pairs]

    def _has_instances(self, item: tuple[str, str]) -> bool:
        folder = self._fuzzed.db_root / item[0] if self._fuzzed else None
        return folder is not None and any(folder.glob("*.sqlite"))

    def _grouped(self, rows: Sequence[Candidate], results: Mapping[tuple[str, str], list[Outcome]]) -> list[Candidate]:
        standings = {row.pred: self._standing(row, results[row.db_id, row.pred][0]) for row in rows}
        good = [row.pred for row in rows if standings[row.pred] != "failed"]
        # The rows' order counts where most of those that give a result ask for one.
        ordered = 2 * sum(map(is_ordered, good)) > len(good)
        groups: list[list[Outcome]] = []
        numbers: dict[str, int] = {}
        for row in rows:
            if row.pred not in numbers:
                found = results[row.db_id, row.pred]
                same = (n for n, other in enumerate(groups) if self._same(found, other, ordered))
                numbers[row.pred] = next(same, len(groups))
                if numbers[row.pred] == len(groups):
                    groups.append(found)
        return [replace(row, group=numbers[row.pred], standing=standings[row.pred]) for row in rows]

    def _same(self, one: Sequence[Outcome], other: Sequence[Outcome], ordered: bool) -> bool:
        """Whether two queries gave equal results wherever they were run; failures are alike on the database itself."""
        if isinstance(one[0], Failure) or isinstance(other[0], Failure):
            return isinstance(one[0], Failure) and isinstance(other[0], Failure)
        return len(one) == len(other) and all(
            self._equal(left, right, ordered) for left, right in zip(one, other, strict=True)
        )

    def _equal(self, one: Outcome, other: Outcome, ordered: bool) -> bool:
        if isinstance(one, Failure) or isinstance(other, Failure):
            return isinstance(one, Failure) and isinstance(other, Failure)
        return equal(self.protocol, one.rows, other.rows, ordered)

    def _standing(self, row: Candidate, outcome: Outcome) -> Standing:
        if isinstance(outcome, Failure):
            return "failed"
        if all(cell is None for cells in outcome.rows for cell in cells):
            return "empty"
        database = database_path(self.root, row.db_id)
        return "not_stored" if self.values and unstored(row.pred, database) else "good"
