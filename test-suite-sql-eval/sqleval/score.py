"""Judges one prediction against one gold on the instances of a database, in this process.

The one place where a verdict is made: the command line, worker processes and rewards all end up here.
"""

import math
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from sqleval import compare, rewrite
from sqleval.outcome import ErrorClass, Failure, Outcome, Rows
from sqleval.overlap import MOST_ROWS, Overlap, overlap
from sqleval.protocol import Protocol
from sqleval.sandbox import Connection, Enough, Limits
from sqleval.verdict import Verdict

_Run = Callable[[str, Connection], Outcome]


@dataclass
class Instance:
    """One open database file; ``gold`` runs or looks up a gold statement."""

    connection: Connection
    gold: _Run

    @cached_property
    def columns(self) -> frozenset[str]:
        """Lower-case names of all columns."""
        return column_names(self.connection.path)


def instances(folder: Path, db_id: str, whole_suite: bool) -> list[Path]:
    """Database files to compare on, the original first.

    Raises:
        FileNotFoundError: there is none; the message names the folder.
    """
    home = folder / db_id
    own = home / f"{db_id}.sqlite"
    found = sorted(p for p in home.glob("*.sqlite") if p != own) if whole_suite else []
    if own.is_file():
        found.insert(0, own)
    if not found:
        raise FileNotFoundError(f"no database {own}")
    return found


def column_names(path: Path) -> frozenset[str]:
    """Lower-case names of all columns of a database; empty when the file is not a database."""
    db = sqlite3.connect(path.absolute().as_uri() + "?mode=ro&immutable=1", uri=True)
    try:
        query = "SELECT lower(c.name) FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
        return frozenset(str(name) for (name,) in db.execute(query))
    except sqlite3.Error:
        return frozenset()
    finally:
        db.close()


class Judge:
    """Gives verdicts by one protocol. ``announce`` is told the seconds that the step about to start may take; with
    ``overlaps``, mismatches say how near they are."""

    def __init__(
        self,
        protocol: Protocol,
        limits: Limits,
        announce: Callable[[float], None] | None = None,
        overlaps: bool = False,
    ) -> None:
        self.protocol = protocol
        self.limits = limits
        self.announce = announce or (lambda seconds: None)
        self.overlaps = overlaps

    def judge(self, on: list[Instance], gold: str, pred: str) -> Verdict:
        """Verdict on ``pred``; every instance of ``on`` must agree with ``gold``."""
        self.announce(self.limits.timeout)
        if len(pred) > self.limits.sql_bytes:
            return _failed(
                Failure(ErrorClass.TOO_LARGE, f"longer than {self.limits.sql_bytes} characters"), "error", -1
            )
        keep = self.protocol.keep_distinct
        if not self.protocol.spider:
            return self._agree(on, gold, pred, rewrite.ends_ordered(gold), time.monotonic() + self.limits.timeout)
        if "value" in pred:
            pred = rewrite.fill_placeholder(pred, on[0].columns, self.protocol.official_quirks)
        gold, pred = rewrite.tidy(gold, keep), rewrite.tidy(pred, keep)
        ordered = rewrite.is_ordered(gold)
        gold_run = rewrite.fix_year(gold)
        for instance in on:
            self.announce(self.limits.gold_timeout)
            instance.gold(gold_run, instance.connection)
        deadline = time.monotonic() + self.limits.timeout
        first = self._agree(on, gold_run, rewrite.fix_year(pred), ordered, deadline)
        if first.correct or first.outcome == "gold_error" or not self.protocol.plug_value:
            return first
        return self._plug(on, gold_run, rewrite.plugged(gold, pred), ordered, deadline) or first

    def _plug(
        self, on: list[Instance], gold: str, texts: Iterable[str], ordered: bool, deadline: float
    ) -> Verdict | None:
        """The verdict of the first text that is right, None when none is."""
        tried: set[str] = set()
        for text in texts:
            if time.monotonic() > deadline:
                return None
            if text in tried:
                continue
            tried.add(text)
            verdict = self._agree(on, gold, rewrite.fix_year(text), ordered, deadline)
            if verdict.correct:
                return verdict
        return None

    def _agree(self, on: list[Instance], gold: str, pred: str, ordered: bool, deadline: float) -> Verdict:
        verdict = Verdict(False, "error", ErrorClass.OTHER.value, "no database instance")
        for number, instance in enumerate(on):
            found = self._on_one(instance, gold, pred, ordered, deadline)
            if not found.correct and number and self.overlaps and found.outcome == "mismatch":
                return replace(found, overlap=self._overlap(on[0], gold, pred, deadline))
            if not found.correct:
                return found
            verdict = verdict if number else found
        return verdict

    def _overlap(self, instance: Instance, gold: str, pred: str, deadline: float) -> Overlap | None:
        """On an instance where the two agree, although they do not on another."""
        truth = instance.gold(gold, instance.connection)
        left = max(deadline - time.monotonic(), 0.0)
        self.announce(left)
        answer = instance.connection.run(pred, left, self._enough(truth)) if isinstance(truth, Rows) else truth
        return overlap(truth, answer) if isinstance(truth, Rows) and isinstance(answer, Rows) else None

    def _on_one(self, instance: Instance, gold: str, pred: str, ordered: bool, deadline: float) -> Verdict:
        self.announce(self.limits.gold_timeout)
        truth = instance.gold(gold, instance.connection)
        if isinstance(truth, Failure):
            return _failed(truth, "gold_error", -1)
        left = max(deadline - time.monotonic(), 0.0)
        self.announce(left)
        # The same statement has the same rows: no need to run it twice.
        same = rewrite.canonical(pred) == rewrite.canonical(gold) and "random" not in pred.lower()
        answer = truth if same else instance.connection.run(pred, left, self._enough(truth))
        if isinstance(answer, Failure):
            if not (self.protocol.official_quirks and self.protocol.spider):
                return _failed(answer, "error", len(truth.rows))
            answer = as_official(instance.connection, pred, answer, left)
            if isinstance(answer, Failure):
                return _failed(answer, "error", len(truth.rows))
        score = self._compare(truth, answer, ordered, instance, gold, pred)
        counts = (len(truth.rows), len(answer.rows))
        right = score >= 1.0 if self.protocol.name == "bird-soft-f1" else score > 0.0
        near = None if right or not self.overlaps else overlap(truth, answer)
        return Verdict(right, "match" if right else "mismatch", None, "", "", score, *counts, near)

    def _enough(self, truth: Rows) -> Enough | None:
        """When the rest of a prediction's rows cannot change its verdict any more."""
        if self.protocol.name == "bird-soft-f1":
            return None
        if self.overlaps:
            most = max(len(truth.rows), MOST_ROWS)
            return lambda count, latest: count > most
        if self.protocol.name.startswith("bird"):
            expected = set(truth.rows)
            return lambda count, latest: not expected.issuperset(latest)
        most = len(truth.rows)
        return lambda count, latest: count > most

    def _compare(self, truth: Rows, answer: Rows, ordered: bool, on: Instance, gold: str, pred: str) -> float:
        if self.protocol.spider:
            return float(compare.spider_equal(truth.rows, answer.rows, ordered))
        if self.protocol.name == "strict":
            return float(compare.strict_equal(truth.rows, answer.rows, ordered))
        if self.protocol.name == "bird-soft-f1":
            return compare.bird_soft_f1(truth.rows, answer.rows)
        if not compare.bird_equal(truth.rows, answer.rows):
            return 0.0
        return 1.0 if self.protocol.name == "bird-ex" else self._efficiency(on.connection, gold, pred)

    def _efficiency(self, connection: Connection, gold: str, pred: str) -> float:
        """BIRD's reward for speed; both statements are timed in turn, at most 100 times and for one timeout."""
        ratios: list[float] = []
        self.announce(3 * self.limits.timeout)
        end = time.monotonic() + self.limits.timeout
        while len(ratios) < _TIMED_RUNS and (not ratios or time.monotonic() < end):
            times = [connection.run(sql) for sql in (gold, pred)]
            if not (isinstance(times[0], Rows) and isinstance(times[1], Rows)):
                break
            ratios.append(times[0].seconds / max(times[1].seconds, 1e-9))
        return efficiency_reward(ratios)


_TIMED_RUNS = 100


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
    from sqleval.scratch import run_on_copy

    if failure.error is ErrorClass.SYNTAX and failure.message.startswith(("the statement is empty", "no statement")):
        return Rows((), [])
    if failure.error is ErrorClass.FORBIDDEN:
        # These two open files, which a copy in memory must not; they answer nothing.
        if sql.lstrip().lower().startswith(("attach", "vacuum")):
            return Rows((), [])
        return run_on_copy(connection.path, sql, connection.limits, timeout=timeout, everything=True)
    return failure


def _failed(failure: Failure, outcome: Literal["error", "gold_error"], gold_rows: int) -> Verdict:
    return Verdict(False, outcome, failure.error.value, failure.message, failure.name, 0.0, gold_rows)
