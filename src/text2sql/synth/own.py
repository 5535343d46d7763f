"""Questions about a user's own database: all patterns, hardness in balance, every query run under the sandbox.

A database that holds few values gives few different queries; when drawing brings nothing new, the aims are lowered
one by one (balance first, then one phrasing a query), and in the end it is said how far the schema reached.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqleval import hardness
from sqleval.outcome import Failure
from sqleval.sandbox import Connection
from text2sql.errors import UserError
from text2sql.records import TracedExample
from text2sql.schema import open_readonly, quote, render_ddl
from text2sql.synth.bind import Binder, Bound, NoBindingError, Noun, literal
from text2sql.synth.grammar import Language, Pattern, load_language, load_more_patterns, load_patterns
from text2sql.synth.profile import ColumnProfile, DatabaseProfile, TableProfile, profile_database, split_words

LEVELS = ("easy", "medium", "hard", "extra")
_EXTRA_CONDITIONS = 0.2
_LONGEST_VALUE = 60
_PHRASINGS = 4


@dataclass(frozen=True)
class Made:
    """The examples, and what became of the draws: ``levels`` of hardness, ``note`` when there are fewer than asked."""

    examples: list[TracedExample]
    levels: dict[str, int]
    note: str = ""


@dataclass(frozen=True)
class LinkedNoun(Noun):
    """A child table's name with the key meant, where two keys lead to the same parent (winner and loser of a match)."""

    by: str

    def __format__(self, spec: str) -> str:
        words = super().__format__(spec)
        return f"{words} (by {self.by})" if self.code == "en" else f"{words}（按 {self.by}）"


class OwnBinder(Binder):
    """A binder with conditions that only users' databases get: years of dates, and negations."""

    def _bind_tables(self, pattern: Pattern) -> tuple[dict[str, TableProfile], dict[str, str], dict[str, str | Noun]]:
        tables, sql, words = super()._bind_tables(pattern)
        if "child" in tables:
            child, parent = tables["child"].name, tables["mid" if "mid" in tables else "parent"].name
            keys = [join.key for join in self.database.joins if (join.child, join.parent) == (child, parent)]
            if len(keys) > 1:
                key = next(key for key in keys if quote(key) == sql["fk"])
                words["child"] = LinkedNoun(child, self.language.code, split_words(key))
        return tables, sql, words

    def _condition(self, column: ColumnProfile, prefix: str) -> tuple[str, str]:
        rng = self.rng
        if rng.random() > _EXTRA_CONDITIONS:
            return super()._condition(column, prefix)
        name, values = prefix + column.sql, column.values
        value, other = rng.choice(values), rng.choice(values)
        if "date" in column.roles:
            kind, value = "year", str(value)[:4]
            sql = f"strftime('%Y', {name}) = '{value}'"
        elif "number" in column.roles:
            value, other = sorted((value, other))
            kind, sql = "not_between", f"{name} NOT BETWEEN {literal(value)} AND {literal(other)}"
        elif rng.random() < 0.5:
            kind, sql = "not_in", f"{name} NOT IN ({literal(value)}, {literal(other)})"
        else:
            value = self._part(str(value), "contains")
            kind, sql = "not_contains", f"{name} NOT LIKE '%{value}%'"
        if kind in ("not_in", "not_between") and value == other:
            raise NoBindingError
        phrase = self.language.choose(self.language.conditions[kind], self.register, rng)
        return sql, phrase.format(c=column.words, v=self._mention(value), v2=self._mention(other))


def write_for_database(
    database: Path, count: int, seed: int = 42, languages: tuple[str, ...] = ("en",), register: str = "natural",
    reasoning: bool = False, timeout: float = 2.0,
) -> Made:  # fmt: skip
    """Up to ``count`` different questions with SQL that ran and gave a result, for a SQLite file.

    Raises:
        UserError: no such file, not a database, no rows in it, or an unknown language or register.
    """
    connection = open_readonly(database)
    try:
        profile = _plain_values(profile_database(connection))
    finally:
        connection.close()
    if not profile.tables:
        raise UserError(f"{database}: no table has rows to ask about")
    known = [load_language(code, more=True) for code in languages]
    if register not in ("natural", "heldout"):
        raise UserError(f"register is natural or heldout, not {register!r}")
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


def _example(
    number: int, db_id: str, schema: str, language: str, register: str, pattern: str, bound: Bound, reasoning: bool
) -> TracedExample:
    from text2sql.analysis import classify
    from text2sql.synth.trace import trace

    return TracedExample(
        question_id=f"{db_id}-{language}-{register}-{number:05d}", db_id=db_id, question=bound.question, schema=schema,
        sql=bound.sql, source=f"synth/{language}/{register}/{pattern}", difficulty=hardness(bound.sql),
        reasoning=trace(bound.question, bound.sql, schema) if reasoning else "",
        kind=classify(bound.sql).label if reasoning else "",
    )  # fmt: skip


class _Drawer:
    """Draws until there are enough, lowering its aims when nothing new comes."""

    def __init__(
        self, profile: DatabaseProfile, languages: list[Language], register: str, rng: random.Random, sandbox: Connection,
        timeout: float,
    ) -> None:  # fmt: skip
        self.rng, self.sandbox, self.timeout = rng, sandbox, timeout
        self.binders = [OwnBinder(profile, language, register, rng) for language in languages]
        self.patterns: tuple[Pattern, ...] = (*load_patterns(), *load_more_patterns())
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

    def _try(self, binder: Binder, pattern: Pattern, count: int) -> Bound | None:
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
        """Whether the query runs in time and its answer is more than nothing, a NULL or a zero."""
        if sql not in self.verdicts:
            outcome = self.sandbox.run(sql, self.timeout)
            rows = [] if isinstance(outcome, Failure) else outcome.rows
            self.verdicts[sql] = bool(rows) and rows[0] not in ((None,), (0,))
        return self.verdicts[sql]

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


def _plain_values(profile: DatabaseProfile) -> DatabaseProfile:
    """The profile with only values that a question can quote as they are: one line, no outer spaces, not too long."""

    def plain(value: str | int | float) -> bool:
        if not isinstance(value, str):
            return value == value and abs(value) < 1e15
        return 0 < len(value) <= _LONGEST_VALUE and value == " ".join(value.split()) and "\ufffd" not in value

    tables = {}
    for name, table in profile.tables.items():
        columns = []
        for column in table.columns:
            values = tuple(value for value in column.values if plain(value))
            roles = column.roles if values else column.roles & {"label"}
            columns.append(replace(column, values=values, roles=roles))
        tables[name] = TableProfile(table.name, tuple(columns))
    return replace(profile, tables=tables)
