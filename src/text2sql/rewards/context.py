"""What all rewards of a run share: the evaluator's verdicts, query results, and one reading of every completion.

The reward is the metric: verdicts come from :class:`sqleval.Evaluator`, whose worker processes stay up between
batches and whose caches make a group of equal completions cost one. Three guards are added to the metric, so that only
an answer to the question is rewarded:

* a completion that leaves open which SQL it means (several SQL blocks or statements, tags repeated or nested), or
  that is longer than ``max_chars``, has no SQL;
* a query whose values are written into it (``SELECT 1``) is hollow: it matches nothing and earns no partial credit,
  unless the gold is such a query as well; nor does one match that calls a random function and the gold does not;
* where the gold's result is no evidence (no rows, or nothing but NULL and 0, on every database instance; or one and the same
  on all of several), a match counts only for a query that is equivalent to the gold by its tree; nor does a match count that
  cuts the result off with a LIMIT where the gold has none.

On one instance a constant, a key learnt by heart or a condition that drops nothing can still match. Against these stand
the test suites that the preparation of data builds (:mod:`text2sql.data.suites`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqleval import Evaluator, Limits, Rows, Verdict, execute, instances
from sqleval.outcome import Row
from text2sql.errors import UserError
from text2sql.prompts import Answer, read_answer
from text2sql.records import RewardSample
from text2sql.sql import cuts_off, equivalent, is_constant, is_random, read_statement

PROTOCOL = "spider-test-suite+keep_distinct"
"""The default: right on every instance of a database, and with DISTINCT where the gold has it, which the metric overlooks."""
_MOST_REMEMBERED = 20_000
_NO_SQL = Verdict(False, "error", "no_sql", "no clear SQL in the completion")
_UNCLEAR = frozenset(("several_sql", "broken_tags", "no_sql"))
_Key = tuple[str, str, str]  # completion, db_id, gold SQL


@dataclass(frozen=True)
class Judged:
    """One completion, read and judged.

    ``sql`` is empty where the completion gives no clear answer. ``matched`` is the metric's verdict less the guards;
    ``hollow`` says that a guard took a match away.
    """

    answer: Answer
    sql: str
    verdict: Verdict
    matched: bool
    hollow: bool

    @property
    def ran(self) -> bool:
        """Whether the query gave a result."""
        return self.verdict.outcome in ("match", "mismatch")


class RewardContext:
    """Databases, limits and caches of one run; a context manager.

    ``database_root`` holds ``<db_id>/<db_id>.sqlite`` (None: no reward that executes can be used); ``protocol`` is one
    of sqleval's, and the default compares on every instance of a test suite where there is one; ``timeout`` is in
    seconds a query; ``jobs`` counts worker processes, started when the first SQL is judged (0: this process);
    ``max_chars`` bounds a completion that counts.

    Raises:
        UserError: ``database_root`` is not a folder, or the protocol is unknown.
    """

    def __init__(
        self,
        database_root: Path | None = None,
        *,
        protocol: str = PROTOCOL,
        timeout: float = 5.0,
        jobs: int = 2,
        max_chars: int = 16_000,
    ) -> None:
        self.database_root, self.protocol, self.timeout, self.max_chars = database_root, protocol, timeout, max_chars
        self._evaluator: Evaluator | None = None
        if database_root is not None:
            try:
                self._evaluator = Evaluator(database_root, protocol=protocol, jobs=jobs, timeout=timeout, overlaps=True)
            except (FileNotFoundError, ValueError) as error:
                raise UserError(f"rewards: {error}; set database_root to the folder of databases") from error
        self._judged: dict[_Key, Judged] = {}
        self._unsure: dict[_Key, Judged] = {}
        self._evidence: dict[tuple[str, str], bool] = {}
        self._read = lru_cache(_MOST_REMEMBERED)(self._read_once)

    def __enter__(self) -> "RewardContext":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes."""
        if self._evaluator is not None:
            self._evaluator.close()

    @property
    def evaluator(self) -> Evaluator:
        """The one evaluator of the run, whose workers and caches rewards share with whatever else judges SQL.

        Raises:
            UserError: no ``database_root`` was given.
        """
        if self._evaluator is None:
            raise UserError("this reward executes SQL: set database_root to the folder of databases")
        return self._evaluator

    def database(self, db_id: str) -> Path:
        """The original database file.

        Raises:
            UserError: no ``database_root`` was given, or the file is missing.
        """
        path = self.evaluator.db_root / db_id / f"{db_id}.sqlite"
        if not path.is_file():
            raise UserError(f"{path}: no such database")
        return path

    def judge(self, samples: Sequence[RewardSample]) -> list[Judged]:
        """Read and judge completions; each distinct one only once, however many rewards ask."""
        keys = [(s.completion, s.example.db_id, s.example.sql) for s in samples]
        if len(self._judged) > _MOST_REMEMBERED:
            self._judged.clear()
        known = {key: found for key in keys if (found := self._judged.get(key) or self._unsure.get(key))}
        fresh = list(dict.fromkeys(key for key in keys if key not in known))
        known |= zip(fresh, self._judge(fresh), strict=True)
        # A timeout may be the machine's load: it holds while rewards ask about the same batch, not for the run.
        self._unsure = {k: j for k, j in known.items() if j.verdict.error_class in ("timeout", "other")}
        self._judged.update({k: j for k, j in known.items() if k not in self._unsure})
        return [known[key] for key in keys]

    def _judge(self, keys: Sequence[_Key]) -> list[Judged]:
        read = [self._read(completion) for completion, _, _ in keys]
        asked = [(db_id, gold, sql) for (_, db_id, gold), (_, sql) in zip(keys, read, strict=True) if sql]
        verdicts = iter(self.evaluator.score_batch(asked) if asked else ())
        judged = []
        for (_, db_id, gold), (answer, sql) in zip(keys, read, strict=True):
            verdict = next(verdicts) if sql else _NO_SQL
            hollow = verdict.correct and sql != gold and self._is_hollow(db_id, gold, sql)
            judged.append(Judged(answer, sql, verdict, verdict.correct and not hollow, hollow))
        return judged

    def answer(self, completion: str) -> Answer:
        """The parts of the completion; all empty where it is longer than ``max_chars``."""
        return self._read(completion)[0]

    def clear_sql(self, completion: str) -> str:
        """The SQL that the completion commits itself to; empty where it leaves that open."""
        return self._read(completion)[1]

    def _read_once(self, completion: str) -> tuple[Answer, str]:
        answer = read_answer(completion if len(completion) <= self.max_chars else "")
        unclear = _UNCLEAR.intersection(answer.flaws) or _several_statements(answer.sql)
        return answer, "" if unclear else answer.sql

    def _is_hollow(self, db_id: str, gold: str, sql: str) -> bool:
        if made_up(sql, gold) or (is_random(sql) and not is_random(gold)) or (cuts_off(sql) and not cuts_off(gold)):
            return True
        return not self.gold_says_something(db_id, gold) and not equivalent(gold, sql)

    def gold_says_something(self, db_id: str, gold: str) -> bool:
        """Whether a gold result is evidence: more than NULL and 0 on some instance, and not the same on all of several."""
        key = (db_id, gold)
        if key not in self._evidence:
            limits = Limits(timeout=self.timeout)
            found = [execute(path, gold, limits) for path in self.instances(db_id)]
            rows = [outcome.rows for outcome in found if isinstance(outcome, Rows)]
            varied = len(rows) == 1 or is_constant(gold) or any(r != rows[0] for r in rows)
            self._evidence[key] = varied and not all(map(_is_empty, rows))
        return self._evidence[key]

    def instances(self, db_id: str) -> list[Path]:
        """The database files on which completions are judged, the original first.

        Raises:
            FileNotFoundError: there is none.
        """
        return instances(self.evaluator.db_root, db_id, self.evaluator.protocol.name == "spider-test-suite")


def made_up(sql: str, gold: str) -> bool:
    """Whether a query's values are written into it although the gold reads its own from the database."""
    return is_constant(sql) and not is_constant(gold)


def _is_empty(rows: Sequence[Row]) -> bool:
    return len(rows) <= 1 and not any(cell for row in rows for cell in row)


def _several_statements(sql: str) -> bool:
    """Whether something follows a semicolon; the official evaluator would look at the first statement only."""
    return ";" in sql and ";" in read_statement(sql).words()[:-1]
