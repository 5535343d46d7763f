"""Scores a list of tasks: execution through the evaluator, exact match and hardness on trees."""

import logging
import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sqleval.errors import InputError
from sqleval.evaluator import Evaluator
from sqleval.exact import COMPONENTS, Component, exact_match, normalise
from sqleval.grammar import parse
from sqleval.inputs import Task
from sqleval.levels import hardness
from sqleval.names import GrammarError
from sqleval.protocol import Protocol
from sqleval.rewrite import fill_placeholder
from sqleval.tally import BIRD_LEVELS, Scored
from sqleval.tree import EMPTY, Query
from sqleval.verdict import Verdict

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What to compute and how. ``keys`` maps each database to its foreign-key map (for exact match)."""

    folder: Path
    protocol: Protocol
    etype: str
    jobs: int
    timeout: float
    cache: Path | str | None = "default"
    keys: Mapping[str, Mapping[str, str]] | None = None


def score_tasks(
    tasks: Sequence[Task], settings: Settings, progress: Callable[[int], None] | None = None
) -> list[Scored]:
    """Every task scored, in order.

    Raises:
        InputError: a database is missing.
    """
    _check_databases(tasks, settings.folder)
    matcher = Matcher(settings) if settings.etype in ("all", "match") else None
    with ThreadPoolExecutor(max_workers=1) as background:
        # Trees are read here while the worker processes run the SQL.
        running = background.submit(_verdicts, tasks, settings, progress)
        matches = [matcher.match(task) if matcher else (None, None) for task in tasks]
        levels = [task.difficulty if task.difficulty in BIRD_LEVELS else hardness(task.gold) for task in tasks]
        verdicts = running.result()
    together = zip(tasks, levels, verdicts, matches, strict=True)
    return [Scored(task, level, verdict, *match) for task, level, verdict, match in together]


def _verdicts(
    tasks: Sequence[Task], settings: Settings, progress: Callable[[int], None] | None
) -> Sequence[Verdict | None]:
    if settings.etype == "match":
        return [None] * len(tasks)
    with Evaluator(
        settings.folder, settings.protocol, settings.jobs, settings.timeout, cache=settings.cache, remember=False
    ) as evaluator:
        return evaluator.score_batch([(task.db_id, task.gold, task.pred) for task in tasks], progress)


def value_of(protocol: Protocol) -> Callable[[Verdict], float]:
    """What a verdict adds to the score: its grade for graded protocols (R-VES: root of the reward), else 0 or 1."""
    if protocol.name == "bird-ves":
        return lambda verdict: math.sqrt(verdict.score)
    if protocol.name == "bird-soft-f1":
        return lambda verdict: verdict.score
    return lambda verdict: float(verdict.correct)


def _check_databases(tasks: Sequence[Task], folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of databases (--db)")
    missing = {task.db_id: task.line for task in reversed(tasks) if not _database(folder, task.db_id).is_file()}
    if missing:
        named = ", ".join(
            f"{db_id} (gold line {line})" for db_id, line in sorted(missing.items(), key=lambda m: m[1])[:5]
        )
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise InputError(f"{folder}: no database for {named}{more}; expected <db_id>/<db_id>.sqlite")


def _database(folder: Path, db_id: str) -> Path:
    return folder / db_id / f"{db_id}.sqlite"


def read_tables(path: Path) -> dict[str, list[str]]:
    """Lower-case columns by lower-case table, in the database's own order.

    Raises:
        InputError: the file is not a SQLite database.
    """
    db = sqlite3.connect(path.absolute().as_uri() + "?mode=ro&immutable=1", uri=True)
    try:
        tables = [str(name) for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        query = "SELECT lower(name) FROM pragma_table_info(?)"
        return {table.lower(): [str(name) for (name,) in db.execute(query, (table,))] for table in tables}
    except sqlite3.Error as error:
        raise InputError(f"{path}: {error}") from error
    finally:
        db.close()


class Matcher:
    """Exact match on one folder of databases, schemas read once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tables: dict[str, dict[str, list[str]]] = {}
        self._golds: dict[tuple[str, str], Query | None] = {}

    def match(self, task: Task) -> tuple[bool, dict[str, Component]]:
        """Whether the prediction matches, and its component scores; no gold tree, no match."""
        tables = self._schema(task.db_id)
        gold = self._gold(task, tables)
        if gold is None:
            return False, {name: Component(0, 1, 0) for name in COMPONENTS}
        columns = {column for names in tables.values() for column in names}
        text = fill_placeholder(task.pred, columns, self._settings.protocol.official_quirks)
        try:
            pred = normalise(parse(text, tables), self._keys(task.db_id), tables)
        except (GrammarError, RecursionError):
            pred = EMPTY
        return exact_match(gold, pred)

    def _schema(self, db_id: str) -> dict[str, list[str]]:
        if db_id not in self._tables:
            self._tables[db_id] = read_tables(_database(self._settings.folder, db_id))
        return self._tables[db_id]

    def _keys(self, db_id: str) -> Mapping[str, str]:
        return (self._settings.keys or {}).get(db_id, {})

    def _gold(self, task: Task, tables: Mapping[str, Sequence[str]]) -> Query | None:
        known = (task.db_id, task.gold)
        if known not in self._golds:
            try:
                self._golds[known] = normalise(parse(task.gold, tables), self._keys(task.db_id), tables)
            except GrammarError as error:
                log.warning("gold line %d: no exact match possible (%s), counted as wrong", task.line, error)
                self._golds[known] = None
        return self._golds[known]
