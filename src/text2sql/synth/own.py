"""Questions about a user's own database: all patterns, balanced hardness, every query run in the sandbox.

A database with few values gives few different queries. When drawing finds nothing new, the requirements are dropped one
by one: first the balance of hardness, then one phrasing for each query. In the end a note says what is missing.
"""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sqleval import Failure, hardness
from sqleval.run.sandbox import Connection
from text2sql.errors import UserError
from text2sql.records import TracedExample
from text2sql.schema import open_readonly
from text2sql.sql import classify
from text2sql.synth.compose import Composed, Composer, Rows
from text2sql.synth.generate import as_examples, generate
from text2sql.synth.profile import DatabaseProfile, profile_database, refined
from text2sql.synth.say import Names
from text2sql.synth.trace import trace

LEVELS = ("easy", "medium", "hard", "extra")
_PHRASINGS = 4
_TIMEOUT = 2.0  # seconds of one query


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
    names: Names | None = None,
) -> Made:
    """Up to ``count`` different questions with SQL that ran and gave a result, for a SQLite file.

    ``reasoning``: add steps and class. ``core``: use the patterns and rules of the toy databases instead of all; for a toy
    database, these are exactly its prepared questions. ``names``: words for columns, by table and column in lower case.

    Raises:
        UserError: no such file, not a database, no rows in it, or an unknown language or register.
    """
    profile = _profile(database, register)
    if core:
        share = -(-count // len(languages))
        made = [one for code in languages for one in generate(database, database.stem, share, seed, register, code)]
        note = f"the schema gives only {len(made)} of {count} questions" if len(made) < count else ""
    else:
        rng = random.Random(f"{seed}/{database.stem}")
        with closing(Connection(database)) as sandbox:
            composer = Composer(profile, languages, register, rng, partial(_rows, sandbox), names)
            questions = _Questions(composer)
            made, note = as_examples(questions.draw(count), database.stem, profile), questions.note(count)
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
            profile = refined(connection, profile_database(connection))
        except sqlite3.DatabaseError as error:
            raise UserError(f"{database}: cannot be read ({error}); is it damaged?") from error
    if not profile.tables:
        raise UserError(f"{database}: no table has rows to ask about")
    return profile


def _rows(sandbox: Connection, sql: str) -> Rows:
    outcome = sandbox.run(sql, _TIMEOUT)
    return [] if isinstance(outcome, Failure) else list(outcome.rows)


class _Questions:
    """Takes questions until there are enough, and drops a requirement when nothing new comes (see the module)."""

    def __init__(self, composer: Composer) -> None:
        self.composer = composer
        self.questions: set[str] = set()
        self.queries: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()

    def draw(self, count: int) -> Iterator[Composed]:
        """Yield up to ``count`` questions."""
        for dropped in range(3):
            misses = 0
            while misses <= 1500 + count // 2 and len(self.questions) < count:
                made = self._take(count, dropped)
                misses = 0 if made else misses + 1
                if made:
                    yield made

    def _take(self, count: int, dropped: int) -> Composed | None:
        """A question that is new and meets the requirements that are left after ``dropped`` of them."""
        drawn = self.composer.meaning()
        if drawn is None or self.queries[drawn[1]] >= (_PHRASINGS if dropped == 2 else 1):
            return None
        query, sql = drawn
        level = hardness(sql)
        if (dropped == 0 and self.levels[level] >= -(-count // len(LEVELS))) or not self.composer.has_result(sql):
            return None
        made = self.composer.say(query, sql)
        if made is None or made.question.casefold() in self.questions:
            return None
        self.questions.add(made.question.casefold())
        self.queries[sql] += 1
        self.levels[level] += 1
        return made

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
