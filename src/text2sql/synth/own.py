"""Questions about a user's own database: all patterns, hardness in balance, every query run under the sandbox.

A database that holds few values gives few different queries; when drawing brings nothing new, the aims are lowered
one by one (balance first, then one phrasing a query), and in the end it is said how far the schema reached.
"""

import random
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqleval import Failure, hardness
from sqleval.run.sandbox import Connection
from text2sql.errors import UserError
from text2sql.records import Example, TracedExample
from text2sql.schema import open_readonly, render_ddl
from text2sql.synth.bind import Bound, NoBindingError
from text2sql.synth.generate import generate
from text2sql.synth.grammar import Language, Pattern, load_all_patterns, load_language
from text2sql.synth.own_bind import OwnBinder, own_profile
from text2sql.synth.profile import DatabaseProfile, profile_database

LEVELS = ("easy", "medium", "hard", "extra")
_PHRASINGS = 4
_LIMITED = re.compile(r"(.*) LIMIT (\d+)\Z")


@dataclass(frozen=True)
class Made:
    """The examples, and what became of the draws: ``levels`` of hardness, ``note`` when there are fewer than asked."""

    examples: list[TracedExample]
    levels: dict[str, int]
    note: str = ""


def write_for_database(
    database: Path, count: int, seed: int = 42, languages: tuple[str, ...] = ("en",), register: str = "natural",
    reasoning: bool = False, timeout: float = 2.0,
) -> Made:  # fmt: skip
    """Up to ``count`` different questions with SQL that ran and gave a result, for a SQLite file.

    Raises:
        UserError: no such file, not a database, no rows in it, or an unknown language or register.
    """
    profile = _profile(database, register)
    known = [load_language(code, more=True) for code in languages]
    sandbox = Connection(database)
    rng = random.Random(f"{seed}/{database.stem}")
    drawer = _Drawer(profile, known, register, rng, sandbox, timeout)
    try:
        drawn = list(drawer.draw(count))
    finally:
        sandbox.close()
    schema = render_ddl(profile.schema)
    examples = [
        _example(number, database.stem, schema, language, register, pattern, bound, reasoning)
        for number, (language, pattern, bound) in enumerate(drawn)
    ]
    levels = Counter(example.difficulty for example in examples)
    return Made(examples, {level: levels[level] for level in LEVELS}, drawer.note(count, len(examples), levels))


def write_from_core(
    database: Path, count: int, seed: int = 42, languages: tuple[str, ...] = ("en",), register: str = "natural",
    reasoning: bool = False,
) -> Made:  # fmt: skip
    """As :func:`write_for_database`, by the toy world's patterns and rules: for its databases, its very questions.

    Raises:
        UserError: as there.
    """
    _profile(database, register)
    share = -(-count // len(languages))
    drawn = [one for code in languages for one in generate(database, database.stem, share, seed, register, code)]
    examples = [TracedExample(**one.__dict__, **_reasoning(one, reasoning)) for one in drawn[:count]]
    levels = Counter(example.difficulty for example in examples)
    note = f"the schema gives only {len(examples)} of {count} questions" if len(examples) < count else ""
    return Made(examples, {level: levels[level] for level in LEVELS}, note)


def _profile(database: Path, register: str) -> DatabaseProfile:
    if register not in ("natural", "heldout"):
        raise UserError(f"register is natural or heldout, not {register!r}")
    connection = open_readonly(database)
    try:
        profile = own_profile(connection, profile_database(connection))
    except sqlite3.DatabaseError as error:
        raise UserError(f"{database}: cannot be read ({error}); is it damaged?") from error
    finally:
        connection.close()
    if not profile.tables:
        raise UserError(f"{database}: no table has rows to ask about")
    return profile


def _example(
    number: int, db_id: str, schema: str, language: str, register: str, pattern: str, bound: Bound, reasoning: bool
) -> TracedExample:
    example = Example(
        question_id=f"{db_id}-{language}-{register}-{number:05d}", db_id=db_id, question=bound.question, schema=schema,
        sql=bound.sql, source=f"synth/{language}/{register}/{pattern}", difficulty=hardness(bound.sql),
    )  # fmt: skip
    return TracedExample(**example.__dict__, **_reasoning(example, reasoning))


def _reasoning(example: Example, wanted: bool) -> dict[str, str]:
    if not wanted:
        return {}
    from text2sql.sql import classify
    from text2sql.synth.trace import trace

    steps = trace(example.question, example.sql, example.schema)
    return {"reasoning": steps, "kind": classify(example.sql).label}


class _Drawer:
    """Draws until there are enough, lowering its aims when nothing new comes."""

    def __init__(
        self, profile: DatabaseProfile, languages: list[Language], register: str, rng: random.Random, sandbox: Connection,
        timeout: float,
    ) -> None:  # fmt: skip
        self.rng, self.sandbox, self.timeout = rng, sandbox, timeout
        self.binders = [OwnBinder(profile, language, register, rng) for language in languages]
        self.patterns: tuple[Pattern, ...] = load_all_patterns()
        self.questions: set[str] = set()
        self.queries: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        self.verdicts: dict[str, bool] = {}
        self.aim = 0

    def draw(self, count: int) -> Iterator[tuple[str, str, Bound]]:
        """Yield (language, pattern, question and SQL)."""
        misses = made = 0
        patience = 1500 + count // 2
        while made < count:
            if misses > patience:
                if self.aim == 2:
                    return
                self.aim, misses = self.aim + 1, 0
            binder = self.rng.choice(self.binders)
            pattern = self.rng.choices(self.patterns, [p.weight for p in self.patterns])[0]
            bound = self._try(binder, pattern, count)
            if bound is None:
                misses += 1
                continue
            misses, made = 0, made + 1
            yield binder.language.code, pattern.name, bound

    def _try(self, binder: OwnBinder, pattern: Pattern, count: int) -> Bound | None:
        try:
            bound = binder.bind(pattern)
        except NoBindingError:
            return None
        key, level = bound.question.casefold(), hardness(bound.sql)
        if key in self.questions or self.queries[bound.sql] >= (_PHRASINGS if self.aim == 2 else 1):
            return None
        if self.aim == 0 and self.levels[level] >= -(-count // len(LEVELS)):
            return None
        if not self._answers(bound.sql):
            return None
        self.questions.add(key)
        self.queries[bound.sql] += 1
        self.levels[level] += 1
        return bound

    def _answers(self, sql: str) -> bool:
        """Whether the query runs in time, says more than NULLs or a zero, and leaves nothing to chance."""
        if sql not in self.verdicts:
            rows = self._rows(sql)
            told = any(cell is not None for row in rows for cell in row) and rows != [(0,)]
            self.verdicts[sql] = told and self._is_settled(sql, rows)
        return self.verdicts[sql]

    def _is_settled(self, sql: str, rows: list[tuple[object, ...]]) -> bool:
        """Whether a query for the first few chooses among more, has as many, and has no tie at its end."""
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
        outcome = self.sandbox.run(sql, self.timeout)
        return [] if isinstance(outcome, Failure) else list(outcome.rows)

    def note(self, asked: int, made: int, levels: Counter[str]) -> str:
        """What a user should know of the outcome, in a sentence or none."""
        missing = [level for level in LEVELS if not levels[level]]
        parts = []
        if made < asked:
            parts.append(
                f"the schema and its values give only {made} of {asked} questions ({len(self.queries)} queries, each in up to "
                f"{_PHRASINGS} phrasings); more rows, columns or foreign keys would give more"
            )
        if missing:
            parts.append(f"no question of hardness {', '.join(missing)} can be asked")
        return "; ".join(parts)
