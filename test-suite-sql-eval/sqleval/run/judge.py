"""Judges one prediction against one gold on the instances of a database, in this process.

The only place where a verdict is made: the command line, worker processes and rewards all call it.
"""

import math
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from sqleval.compare import rewrite, rules
from sqleval.compare.rules import MOST_ROWS, overlap
from sqleval.files import read_columns
from sqleval.outcome import ErrorClass, Failure, Outcome, Overlap, Rows, Verdict
from sqleval.protocol import Protocol
from sqleval.run.sandbox import EMPTY_STATEMENT, NO_ROWS, Connection, Enough, Limits
from sqleval.run.scratch import run_on_copy

_TIMED_RUNS = 100


@dataclass
class Instance:
    """One open database file; ``gold`` runs or looks up a gold statement."""

    connection: Connection
    gold: Callable[[str, Connection], Outcome]

    @cached_property
    def columns(self) -> frozenset[str]:
        """Lower-case names of all columns; empty when the file is not a database."""
        try:
            return frozenset[str]().union(*read_columns(self.connection.path, views=True).values())
        except sqlite3.Error:
            return frozenset()


@dataclass
class Judge:
    """Gives verdicts by one protocol. ``announce`` is called before each step with the seconds it may take; with
    ``overlaps``, the verdict on a mismatch carries its overlap with the gold."""

    protocol: Protocol
    limits: Limits
    announce: Callable[[float], None] = lambda seconds: None
    overlaps: bool = False

    def judge(self, instances: list[Instance], gold: str, pred: str) -> Verdict:
        """Verdict on ``pred``; every one of ``instances`` must agree with ``gold``."""
        self.announce(self.limits.timeout)
        if len(pred) > self.limits.sql_bytes:
            return Verdict.failed(self._too_long())
        pred = self._as_protocol(instances, pred)
        if not self.protocol.spider:
            deadline = time.monotonic() + self.limits.timeout
            return self._agree(instances, gold, pred, rewrite.ends_ordered(gold), deadline)
        gold = rewrite.tidy(gold, self.protocol.keep_distinct)
        ordered = rewrite.is_ordered(gold)
        gold_run = rewrite.fix_year(gold)
        for instance in instances:
            self._truth(instance, gold_run)
        deadline = time.monotonic() + self.limits.timeout
        first = self._agree(instances, gold_run, rewrite.fix_year(pred), ordered, deadline)
        if first.correct or first.outcome == "gold_error" or not self.protocol.plug_value:
            return first
        return self._plug(instances, gold_run, rewrite.plugged(gold, pred), ordered, deadline) or first

    def answers(self, instances: list[Instance], sql: str) -> list[Outcome]:
        """What a prediction gives on each instance, rewritten as for a verdict, up to the first failure."""
        self.announce(self.limits.timeout)
        if len(sql) > self.limits.sql_bytes:
            return [self._too_long()]
        sql = self._as_protocol(instances, sql)
        sql = rewrite.fix_year(sql) if self.protocol.spider else sql
        deadline, found = time.monotonic() + self.limits.timeout, list[Outcome]()
        for instance in instances:
            left = max(deadline - time.monotonic(), 0.0)
            self.announce(left)
            found.append(instance.connection.run(sql, left))
            if isinstance(found[-1], Failure):
                break
        return found

    def _too_long(self) -> Failure:
        return Failure(ErrorClass.TOO_LARGE, f"longer than {self.limits.sql_bytes} characters")

    def _as_protocol(self, instances: list[Instance], pred: str) -> str:
        """The prediction as the protocol's tool rewrites it before it is run."""
        if not self.protocol.spider:
            return pred
        if "value" in pred:
            pred = rewrite.fill_placeholder(pred, instances[0].columns, self.protocol.official_quirks)
        return rewrite.tidy(pred, self.protocol.keep_distinct)

    def _plug(
        self, instances: list[Instance], gold: str, texts: Iterable[str], ordered: bool, deadline: float
    ) -> Verdict | None:
        """The verdict on the first text that is right, None when none is."""
        tried: set[str] = set()
        for text in texts:
            if time.monotonic() > deadline:
                break
            if text in tried:
                continue
            tried.add(text)
            verdict = self._agree(instances, gold, rewrite.fix_year(text), ordered, deadline)
            if verdict.correct:
                return verdict
        return None

    def _agree(self, instances: list[Instance], gold: str, pred: str, ordered: bool, deadline: float) -> Verdict:
        """The verdict on the first instance where the prediction is wrong, else on the first of all."""
        first = None
        for instance in instances:
            verdict = self._on_one(instance, gold, pred, ordered, deadline)
            if not verdict.correct:
                if first and self.overlaps and verdict.outcome == "mismatch":
                    return replace(verdict, overlap=self._overlap(instances[0], gold, pred, deadline))
                return verdict
            first = first or verdict
        return first or Verdict.failed(Failure(ErrorClass.OTHER, "no database instance"))

    def _truth(self, instance: Instance, gold: str) -> Outcome:
        self.announce(self.limits.gold_timeout)
        return instance.gold(gold, instance.connection)

    def _answer(self, instance: Instance, pred: str, truth: Rows, deadline: float) -> Outcome:
        left = max(deadline - time.monotonic(), 0.0)
        self.announce(left)
        return instance.connection.run(pred, left, self._enough(truth))

    def _overlap(self, instance: Instance, gold: str, pred: str, deadline: float) -> Overlap | None:
        """On an instance where the two agree, although they do not on another."""
        truth = instance.gold(gold, instance.connection)
        answer = self._answer(instance, pred, truth, deadline) if isinstance(truth, Rows) else truth
        return overlap(truth, answer) if isinstance(truth, Rows) and isinstance(answer, Rows) else None

    def _on_one(self, instance: Instance, gold: str, pred: str, ordered: bool, deadline: float) -> Verdict:
        truth = self._truth(instance, gold)
        if isinstance(truth, Failure):
            return Verdict.failed(truth, "gold_error")
        # The same statement has the same rows: no need to run it twice.
        same = rewrite.canonical(pred) == rewrite.canonical(gold) and "random" not in pred.lower()
        answer = truth if same else self._answer(instance, pred, truth, deadline)
        if isinstance(answer, Failure) and self.protocol.official_quirks and self.protocol.spider:
            answer = as_official(instance.connection, pred, answer, max(deadline - time.monotonic(), 0.0))
        if isinstance(answer, Failure):
            return Verdict.failed(answer, "error", len(truth.rows))
        score = self._score(truth, answer, ordered, instance, gold, pred)
        right = score >= 1.0 if self.protocol.name == "bird-soft-f1" else score > 0.0
        near = None if right or not self.overlaps else overlap(truth, answer)
        counts = (len(truth.rows), len(answer.rows))
        return Verdict(right, "match" if right else "mismatch", None, "", "", score, *counts, near)

    def _enough(self, truth: Rows) -> Enough | None:
        """When the rest of a prediction's rows cannot change its verdict any more."""
        if self.protocol.name == "bird-soft-f1":
            return None
        if self.protocol.name.startswith("bird") and not self.overlaps:
            expected = set(truth.rows)
            return lambda count, latest: not expected.issuperset(latest)
        most = max(len(truth.rows), MOST_ROWS * self.overlaps)
        return lambda count, latest: count > most

    def _score(self, truth: Rows, answer: Rows, ordered: bool, instance: Instance, gold: str, pred: str) -> float:
        if self.protocol.name == "bird-soft-f1":
            return rules.bird_soft_f1(truth.rows, answer.rows)
        if not rules.equal(self.protocol, truth.rows, answer.rows, ordered):
            return 0.0
        return self._efficiency(instance.connection, gold, pred) if self.protocol.name == "bird-ves" else 1.0

    def _efficiency(self, connection: Connection, gold: str, pred: str) -> float:
        """BIRD's reward for speed; both statements are timed in turn, at most 100 times and for one timeout."""
        ratios: list[float] = []
        self.announce(3 * self.limits.timeout)
        end = time.monotonic() + self.limits.timeout
        while len(ratios) < _TIMED_RUNS and (not ratios or time.monotonic() < end):
            one, other = connection.run(gold), connection.run(pred)
            if not (isinstance(one, Rows) and isinstance(other, Rows)):
                break
            ratios.append(one.seconds / max(other.seconds, 1e-9))
        return efficiency_reward(ratios)


def efficiency_reward(ratios: list[float]) -> float:
    """R-VES reward of time ratios (gold over prediction), ratios beyond three standard deviations left out.

    Steps (BIRD mini-dev): 1.25 from 2 on, 1 from 1, 0.75 from 0.5, 0.5 from 0.25, else 0.25.
    """
    if not ratios:
        return 0.25
    mean = sum(ratios) / len(ratios)
    spread = math.sqrt(sum((ratio - mean) ** 2 for ratio in ratios) / len(ratios))
    kept = [ratio for ratio in ratios if abs(ratio - mean) <= 3 * spread] or ratios
    ratio = sum(kept) / len(kept)
    return next((reward for bound, reward in ((2, 1.25), (1, 1.0), (0.5, 0.75), (0.25, 0.5)) if ratio >= bound), 0.25)


def as_official(connection: Connection, sql: str, failure: Failure, timeout: float) -> Outcome:
    """What the official evaluator, whose connections are writable, sees where the sandbox refused.

    Statements run on a throw-away copy; a statement without rows counts as an empty result.
    """
    if failure in (EMPTY_STATEMENT, NO_ROWS):
        return Rows((), [])
    if failure.error is not ErrorClass.FORBIDDEN:
        return failure
    # These two open files, which a copy in memory must not; they return no rows.
    if sql.lstrip().lower().startswith(("attach", "vacuum")):
        return Rows((), [])
    return run_on_copy(connection.path, sql, connection.limits, timeout=timeout, everything=True)
