"""Draws questions with SQL that runs and has a result, until there are enough that differ."""

import logging
import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from sqleval import hardness
from text2sql.records import Example
from text2sql.schema import open_readonly, render_ddl
from text2sql.synth.bind import Binder, Bound
from text2sql.synth.compose import Composed
from text2sql.synth.grammar import load_language, load_patterns
from text2sql.synth.profile import DatabaseProfile, profile_database

logger = logging.getLogger(__name__)
_PATIENCE = 60  # draws without a new question before a small schema counts as exhausted


def generate(
    database: Path, db_id: str, count: int, seed: int, register: str = "natural", language: str = "en"
) -> list[Example]:
    """Up to ``count`` examples for the database file; fewer, with a warning, where the schema is too small.

    ``register`` is ``plain``, ``natural`` or ``heldout`` (see ``en.yaml``). Every gold SQL has run on the database.
    """
    with closing(open_readonly(database)) as connection:
        profile = profile_database(connection)
        drawn = list(write_questions(connection, profile, count, random.Random(f"{seed}/{db_id}"), register, language))
    if len(drawn) < count:
        logger.warning("%s: the schema gives only %d of %d questions", db_id, len(drawn), count)
    return as_examples(drawn, db_id, profile)


def as_examples(drawn: Iterable[Bound | Composed], db_id: str, profile: DatabaseProfile) -> list[Example]:
    """Drawn questions as numbered examples."""
    schema = render_ddl(profile.schema)
    return [
        Example(
            question_id=f"{db_id}-{bound.language}-{bound.register}-{number:05d}",
            db_id=db_id,
            question=bound.question,
            schema=schema,
            sql=bound.sql,
            source=f"synth/{bound.language}/{bound.register}/{bound.pattern}",
            difficulty=hardness(bound.sql),
        )
        for number, bound in enumerate(drawn)
    ]


def write_questions(
    connection: sqlite3.Connection,
    profile: DatabaseProfile,
    count: int,
    rng: random.Random,
    register: str = "natural",
    language: str = "en",
) -> Iterator[Bound]:
    """Yield up to ``count`` distinct questions for an open database."""
    if not profile.tables:
        return
    patterns = load_patterns()
    weights = [pattern.weight for pattern in patterns]
    binder = Binder(profile, load_language(language), register, rng)
    questions: set[str] = set()
    misses = made = 0
    while made < count and misses < _PATIENCE + count:
        bound = binder.draw(rng.choices(patterns, weights)[0])
        if bound is None or bound.question in questions or not _has_result(connection, bound.sql):
            misses += 1
            continue
        questions.add(bound.question)
        misses, made = 0, made + 1
        yield bound


def _has_result(connection: sqlite3.Connection, sql: str) -> bool:
    """Whether the query runs and its result is neither empty nor a single NULL or zero."""
    row = connection.execute(sql).fetchone()
    return row is not None and row not in ((None,), (0,))
