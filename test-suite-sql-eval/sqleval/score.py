"""Scores a list of tasks: execution through the evaluator, exact match and hardness on trees."""

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from sqleval.compare.rewrite import fill_placeholder
from sqleval.evaluator import Evaluator
from sqleval.exact.grammar import parse
from sqleval.exact.hardness import hardness
from sqleval.exact.match import COMPONENTS, Component, exact_match, normalise
from sqleval.exact.query import EMPTY, GrammarError, Query
from sqleval.files import database_path, read_columns
from sqleval.inputs import InputError, Task
from sqleval.outcome import Verdict
from sqleval.protocol import Settings
from sqleval.report.tally import BIRD_LEVELS, Scored

log = logging.getLogger(__name__)


def score_tasks(tasks: Sequence[Task], settings: Settings, progress: Callable[[int], None]) -> list[Scored]:
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


def _verdicts(tasks: Sequence[Task], settings: Settings, progress: Callable[[int], None]) -> Sequence[Verdict | None]:
    if settings.etype == "match":
        return [None] * len(tasks)
    how = (settings.protocol, settings.jobs, settings.timeout)
    with Evaluator(settings.folder, *how, cache=settings.cache, remember=False) as evaluator:
        return evaluator.score_batch([(task.db_id, task.gold, task.pred) for task in tasks], progress)


def _check_databases(tasks: Sequence[Task], folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of databases (--db)")
    lines = {task.db_id: task.line for task in reversed(tasks)}
    missing = [db_id for db_id in sorted(lines, key=lines.__getitem__) if not database_path(folder, db_id).is_file()]
    if missing:
        named = ", ".join(f"{db_id} (gold line {lines[db_id]})" for db_id in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise InputError(f"{folder}: no database for {named}{more}; expected <db_id>/<db_id>.sqlite")


class Matcher:
    """Exact match on one folder of databases, schemas and golds read once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._schema = cache(self._read_schema)
        self._golds: dict[tuple[str, str], Query | None] = {}

    def match(self, task: Task) -> tuple[bool, dict[str, Component]]:
        """Whether the prediction matches, and its component scores; no gold tree, no match."""
        known = (task.db_id, task.gold)
        if known not in self._golds:
            try:
                self._golds[known] = self._tree(task.db_id, task.gold)
            except GrammarError as error:
                log.warning("gold line %d: no exact match possible (%s), counted as wrong", task.line, error)
                self._golds[known] = None
        gold = self._golds[known]
        if gold is None:
            return False, {name: Component(0, 1, 0) for name in COMPONENTS}
        columns = {column for names in self._schema(task.db_id).values() for column in names}
        text = fill_placeholder(task.pred, columns, self._settings.protocol.official_quirks)
        try:
            pred = self._tree(task.db_id, text)
        except (GrammarError, RecursionError):
            pred = EMPTY
        return exact_match(gold, pred)

    def _tree(self, db_id: str, sql: str) -> Query:
        tables: Mapping[str, Sequence[str]] = self._schema(db_id)
        return normalise(parse(sql, tables), (self._settings.keys or {}).get(db_id, {}), tables)

    def _read_schema(self, db_id: str) -> dict[str, list[str]]:
        path = database_path(self._settings.folder, db_id)
        try:
            return read_columns(path)
        except sqlite3.Error as error:
            raise InputError(f"{path}: {error}") from error
