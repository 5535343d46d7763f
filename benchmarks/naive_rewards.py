"""What the rewards benchmark compares with: the same formulas, each completion and statement on its own, no memory."""

import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqleval import Protocol, Rows, Verdict, instances
from sqleval.outcome import Outcome, classify
from sqleval.run.judge import Instance, Judge
from sqleval.run.sandbox import DEFAULT
from text2sql.records import RewardSample
from text2sql.rewards import RewardContext, RewardSuite
from text2sql.rewards.context import PROTOCOL, Judged
from text2sql.rewards.registry import load_shipped


def caches_of_text() -> list[Any]:
    """Every cache of parsed text in the rooms that rewards read completions with."""
    load_shipped()
    rooms = [m for name, m in sys.modules.items() if name.startswith(("text2sql.sql.", "text2sql.rewards."))]
    return [value for room in rooms for value in vars(room).values() if hasattr(value, "cache_clear")]


def forget(caches: Sequence[Any]) -> None:
    """Empty caches."""
    for cached in caches:
        cached.cache_clear()


def score_naively(suite: RewardSuite, sample: RewardSample, caches: Sequence[Any]) -> float:
    """One completion, reward by reward, each from nothing."""
    total = 0.0
    for name in suite.specs:
        forget(caches)
        total += suite.weights[name] * suite.score(name, [sample]).scores[0]
    return total


class NaiveContext(RewardContext):
    """Reads and judges without memory; every statement has a connection of its own."""

    def __init__(self, database: Path) -> None:
        super().__init__(database, jobs=0)
        self._evaluator = NaiveEvaluator(database)  # type: ignore[assignment]
        self._read = self._read_once  # type: ignore[assignment]

    def judge(self, samples: Sequence[RewardSample]) -> list[Judged]:
        self._judged.clear()
        self._evidence.clear()
        return super().judge(samples)


class NaiveEvaluator:
    """The evaluator's verdicts, one after the other."""

    def __init__(self, database: Path) -> None:
        self.db_root = database
        self.protocol = Protocol.parse(PROTOCOL)
        self._judge = Judge(self.protocol, DEFAULT, overlaps=True)

    def score_batch(self, items: list[tuple[str, str, str]]) -> list[Verdict]:
        """One verdict for each database, gold and prediction."""
        return [self._judge.judge(self._open(db_id), gold, sql) for db_id, gold, sql in items]

    def _open(self, db_id: str) -> list[Instance]:
        paths = instances(self.db_root, db_id, True)
        return [Instance(OneCall(path), lambda sql, connection: connection.run(sql)) for path in paths]  # type: ignore[arg-type]


class OneCall:
    """A database that is opened for every statement."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, sql: str, timeout: float | None = None, stop_after: int | None = None) -> Outcome:
        """Open, run, read all, close."""
        db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        db.text_factory = lambda raw: raw.decode(errors="ignore")
        end = time.monotonic() + DEFAULT.timeout
        db.set_progress_handler(lambda: time.monotonic() > end, 10_000)
        try:
            cursor = db.execute(sql)
            return Rows(tuple(column[0] for column in cursor.description or ()), cursor.fetchall())
        except (sqlite3.Error, sqlite3.Warning) as error:
            return classify(str(error))
        finally:
            db.close()
