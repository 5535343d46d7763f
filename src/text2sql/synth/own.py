"""Questions about a user's own database: all patterns, balanced hardness, every query run in the sandbox.

A database with few values gives few different queries. When drawing finds nothing new, the requirements are dropped one
by one: first the balance of hardness, then one phrasing for each query. In the end a note says what is missing.
"""

import random
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from sqleval import Failure, hardness
from sqleval.run.sandbox import Connection
from text2sql.errors import UserError
from text2sql.records import TracedExample
from text2sql.schema import open_readonly
from text2sql.sql import classify
from text2sql.synth.bind import Bound
from text2sql.synth.generate import as_examples, generate
from text2sql.synth.grammar import load_language, load_patterns
from text2sql.synth.own_bind import OwnBinder, own_profile
from text2sql.synth.profile import DatabaseProfile, profile_database
from text2sql.synth.trace import trace

LEVELS = ("easy", "medium", "hard", "extra")
_PHRASINGS = 4
_TIMEOUT = 2.0  # seconds of one query
_LIMITED = re.compile(r"(.*) LIMIT (\d+)\Z")


@dataclass(frozen=True)
class Made:
    """The examples, how many have each level of hardness, and a ``note`` on what is missing (empty: nothing)."""

    examples: list[TracedExample]
    levels: dict[str, int]
    note: str = ""


def write_for_database(
    database: Path,
    count: int,
    seed: int = 42,
    languages: tuple[str, ...] = ("en",),
    register: str = "natural",
    reasoning: bool = False,
    core: bool = False,
) -> Made:
    """Up to ``count`` different questions with SQL that ran and gave a result, for a SQLite file.

    ``reasoning``: add steps and class. ``core``: use the patterns and rules of the toy databases instead of all; for a toy
    database, these are exactly its prepared questions.

    Raises:
        UserError: no such file, not a database, no rows in it, or an unknown language or register.
    """
    profile = _profile(database, register)
    if core:
        share = -(-count // len(languages))
        made = [one for code in languages for one in generate(database, database.stem, share, seed, register, code)]
        note = f"the schema gives only {len(made)} of {count} questions" if len(made) < count else ""
    else:
        known, rng = [load_language(code, more=True) for code in languages], random.Random(f"{seed}/{database.stem}")
        with closing(Connection(database)) as sandbox:
            drawer = _Drawer([OwnBinder(profile, language, register, rng) for language in known], rng, sandbox)
            made, note = as_examples(drawer.draw(count), database.stem, profile), drawer.note(count)
    levels = Counter(example.difficulty for example in made[:count])
    examples = [TracedExample(**one.__dict__) for one in made[:count]]
    if reasoning:
        examples = [
            replace(e, reasoning=trace(e.question, e.sql, e.schema), kind=classify(e.sql).label) for e in examples
        ]
    return Made(examples, {level: levels[level] for level in LEVELS}, note)


def _profile(database: Path, register: str) -> DatabaseProfile:
    if register not in ("natural", "heldout"):
        raise UserError(f"register is natural or heldout, not {register!r}")
    with closing(open_readonly(database)) as connection:
        try:
            profile = own_profile(connection, profile_database(connection))
        except sqlite3.DatabaseError as error:
            raise UserError(f"{database}: cannot be read ({error}); is it damaged?") from error
    if not profile.tables:
        raise UserError(f"{database}: no table has rows to ask about")
    return profile


class _Drawer:
    """Draws until there are enough questions, and drops a requirement when nothing new comes (see the module)."""

    def __init__(self, binders: list[OwnBinder], rng: random.Random, sandbox: Connection) -> None:
        self.binders, self.rng, self.sandbox = binders, rng, sandbox
        self.questions: set[str] = set()
        self.queries: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        self.verdicts: dict[str, bool] = {}

    def draw(self, count: int) -> Iterator[Bound]:
        """Yield up to ``count`` questions."""
        patterns = load_patterns(more=True)
        weights = [pattern.weight for pattern in patterns]
        for dropped in range(3):
            misses = 0
            while misses <= 1500 + count // 2 and len(self.questions) < count:
                binder = self.rng.choice(self.binders)
                bound = binder.draw(self.rng.choices(patterns, weights)[0])
                if bound is not None and self._accept(bound, count, dropped):
                    misses = 0
                    yield bound
                else:
                    misses += 1

    def _accept(self, bound: Bound, count: int, dropped: int) -> bool:
        """Whether the question is new and meets the requirements that are left after ``dropped`` of them."""
        key, level = bound.question.casefold(), hardness(bound.sql)
        if key in self.questions or self.queries[bound.sql] >= (_PHRASINGS if dropped == 2 else 1):
            return False
        if dropped == 0 and self.levels[level] >= -(-count // len(LEVELS)):
            return False
        if not self._has_result(bound.sql):
            return False
        self.questions.add(key)
        self.queries[bound.sql] += 1
        self.levels[level] += 1
        return True

    def _has_result(self, sql: str) -> bool:
        """Whether the query runs in time, and its result is more than NULLs or a zero and does not depend on chance."""
        if sql not in self.verdicts:
            rows = self._rows(sql)
            has_values = any(cell is not None for row in rows for cell in row) and rows != [(0,)]
            self.verdicts[sql] = has_values and self._is_settled(sql, rows)
        return self.verdicts[sql]

    def _is_settled(self, sql: str, rows: list[tuple[object, ...]]) -> bool:
        """Whether a query with LIMIT leaves rows out, returns as many as it asks for, and has no tie at its end."""
        limited = _LIMITED.match(sql)
        if limited is None:
            return True
        whole, count = limited[1], int(limited[2])
        if len(rows) < count or self._rows(f"SELECT count(*) > {count} FROM ({whole})") != [(1,)]:
            return False
        places = range(1, len(rows[0]) + 1)
        ends = [
            self._rows(f"{whole}, {', '.join(f'{place} {way}' for place in places)} LIMIT {count}")
            for way in ("ASC", "DESC")
        ]
        return bool(ends[0]) and sorted(map(repr, ends[0])) == sorted(map(repr, ends[1]))

    def _rows(self, sql: str) -> list[tuple[object, ...]]:
        outcome = self.sandbox.run(sql, _TIMEOUT)
        return [] if isinstance(outcome, Failure) else list(outcome.rows)

    def note(self, asked: int) -> str:
        """What is missing, in a sentence; empty where nothing is."""
        made, parts = len(self.questions), []
        if made < asked:
            parts.append(
                f"the schema and its values give only {made} of {asked} questions ({len(self.queries)} queries, each in up to "
                f"{_PHRASINGS} phrasings); more rows, columns or foreign keys would give more"
            )
        missing = [level for level in LEVELS if not self.levels[level]]
        if missing:
            parts.append(f"no question of hardness {', '.join(missing)} can be asked")
        return "; ".join(parts)
