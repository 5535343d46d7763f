"""The tiny base's corpora: conversations of several questions over one random schema.

Showing a schema once and asking several questions teaches about three times as many answers per token as one
question a prompt would. The first turn has exactly the form that fine-tuning and inference use.

A tiny model that sees few names memorizes them instead of learning to copy identifiers from the prompt. So every schema
is new, and its names mix known words, their combinations and invented ones.
"""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from text2sql.prompts import SYSTEM, Message, follow_up_turn, normalize_answer, user_turn
from text2sql.schema import quote, render_ddl
from text2sql.synth.generate import write_questions
from text2sql.synth.profile import profile_database
from text2sql.tiny_base.options import Lesson
from text2sql.toy.build import fill
from text2sql.toy.spec import ColumnSpec, DatabaseSpec, Kind, TableSpec

_ONSETS = (
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sk sl sm sp st str t th tr v w z".split()
)
_VOWELS = "a e i o u a e i o u ai ea ee oa oo ou".split()
_CODAS = ["", "", "", *"b ck d f g l ll m n nd nt p r rk rn rt sk st t x".split()]
Words = dict[str, tuple[str, ...]]
_MODIFIED, _PREFIXED = 0.3, 0.1


@cache
def load_words(excluded_tables: frozenset[str] = frozenset()) -> Words:
    """The pools of ``words.yaml``, by name, without the table nouns in ``excluded_tables`` (held-out databases)."""
    raw = yaml.safe_load(files(__package__).joinpath("words.yaml").read_text(encoding="utf-8"))
    pools = {name: tuple(dict.fromkeys(text.split())) for name, text in raw.items()}
    pools["tables"] = tuple(noun for noun in pools["tables"] if noun not in excluded_tables)
    return pools


class SchemaWriter:
    """Draws the databases of a lesson.

    ``pieces``: a tokenizer's lower-case pieces. Words joined from them use every piece in many words; a piece that only
    ever completes one word is never learned, and fails when a user's column has it.
    """

    def __init__(self, words: Words, lesson: Lesson, rng: random.Random, pieces: tuple[str, ...] = ()) -> None:
        self.words, self.lesson, self.rng, self.pieces = words, lesson, rng, pieces

    def database(self) -> DatabaseSpec:
        """A database with the lesson's numbers of tables and columns; most tables have a parent."""
        rng, short_keys = self.rng, self.lesson.short_keys
        tables = rng.randint(*self.lesson.tables)
        is_camel, plain_id, plural = rng.random() < self.lesson.camel, rng.random() < 0.25, rng.random() < 0.2
        made: list[TableSpec] = []
        names: set[str] = set()
        keys: set[str] = set()
        for _ in range(tables):
            noun = self._fresh(names, self._noun)
            key = "id" if plain_id else f"{noun}_id"
            if short_keys and not plain_id and rng.random() < short_keys:
                key = f"{noun[: rng.randint(2, 4)]}_{rng.choice(('id', 'id', 'no'))}"
            key = key if key not in keys or plain_id else f"{noun}_id"
            keys.add(key)
            specs = [ColumnSpec(key, "id")]
            if made and rng.random() < 0.9:
                for parent in rng.sample(made, min(len(made), rng.choice((1, 1, 1, 2)))):
                    target = parent.columns[0].name
                    specs.append(ColumnSpec(f"{parent.name}_id" if target == "id" else target, "ref", to=parent.name))
            taken = {spec.name for spec in specs}
            specs += [self._column(noun, taken) for _ in range(rng.randint(*self.lesson.columns))]
            made.append(TableSpec(noun, tuple(specs), rng.randint(8, 24)))
        return _styled(DatabaseSpec("random", tuple(made)), is_camel, plural and not is_camel)

    def _column(self, noun: str, taken: set[str]) -> ColumnSpec:
        kinds: tuple[Kind, ...] = ("name", "category", "integer", "real", "date")
        kind = self.rng.choices(kinds, (3, 3, 3.5, 1.2, 1))[0]
        pools = {"integer": self.words["number"], "real": self.words["number"], "date": self.words["date"]}
        pool = pools.get(kind, self.words["text"])
        name = self._fresh(taken, lambda: self._attribute(noun, pool))
        nulls = 0.2 if self.rng.random() < 0.25 else 0.0
        if kind in ("name", "category"):
            count = self.rng.randint(3, 5) if kind == "category" else 12
            return ColumnSpec(name, kind, values=tuple(self._value() for _ in range(count)), nulls=nulls)
        if kind == "date":
            low, high = self.rng.randint(1970, 2005), self.rng.randint(2006, 2024)
            return ColumnSpec(name, kind, low=low, high=high, nulls=nulls)
        high = self.rng.choice((10, 60, 100, 500, 1000, 5000, 40000))
        return ColumnSpec(name, kind, low=0 if self.rng.random() < 0.7 else high // 5, high=high, nulls=nulls)

    def _invent(self) -> str:
        """A pronounceable word that probably exists in no language, 4 to 10 letters, or one joined from pieces."""
        rng = self.rng
        if not self.lesson.pieced or rng.random() >= self.lesson.pieced:
            syllables = (
                rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.randint(2, 3))
            )
            return "".join(syllables)[:10]
        word = "".join(rng.choice(self.pieces) for _ in range(rng.randint(1, 3)))[:12]
        ending = "y" if rng.random() < 0.12 and len(word) > 2 else ""  # plurals in "ies" respell the word
        return (word.rstrip("aeiouy") or "st") + ending if ending else word

    def _noun(self) -> str:
        if self.rng.random() < self.lesson.invented + 0.1:
            return self._invent()
        noun = self.rng.choice(self.words["tables"])
        return f"{self.rng.choice(self.words['modifiers'])}_{noun}" if self.rng.random() < 0.15 else noun

    def _attribute(self, noun: str, pool: tuple[str, ...]) -> str:
        rng = self.rng
        word = self._invent() if rng.random() < self.lesson.invented else rng.choice(pool)
        if rng.random() < _PREFIXED:
            return f"{noun}_{word}"
        if rng.random() < _MODIFIED:
            return f"{rng.choice(self.words['modifiers']) if rng.random() < 0.7 else self._invent()}_{word}"
        return word

    def _value(self) -> str:
        rng = self.rng
        words = []
        for _ in range(1 if rng.random() < 0.7 else 2):
            word = rng.choice(self.words["values"]) if rng.random() < 0.5 else self._invent()
            words.append(word.capitalize() if rng.random() < 0.8 else word)
        return " ".join(words)

    def _fresh(self, taken: set[str], draw: Callable[[], str]) -> str:
        while True:
            name = draw()
            if name not in taken and quote(name) == name:
                taken.add(name)
                return name


def _styled(spec: DatabaseSpec, is_camel: bool, is_plural: bool) -> DatabaseSpec:
    """The same database in CamelCase, or with plural table names; keys keep the singular."""

    def column(name: str) -> str:
        return "".join(part.capitalize() for part in name.split("_")) if is_camel else name

    def table(name: str) -> str:
        return column(name) + "s" * (is_plural and not name.endswith("s")) if name else ""

    tables = (
        replace(
            t, name=table(t.name), columns=tuple(replace(c, name=column(c.name), to=table(c.to)) for c in t.columns)
        )
        for t in spec.tables
    )
    return replace(spec, tables=tuple(tables))


def write_corpus(
    lessons: list[Lesson], words: Words, seed: str, pieces: tuple[str, ...] = ()
) -> Iterator[dict[str, Any]]:
    """Yield ``{"messages": [...]}`` in the order of the lessons; ``pieces`` as in :class:`SchemaWriter`."""
    for number, lesson in enumerate(lessons):
        writer = SchemaWriter(words, lesson, random.Random(f"{seed}/{number}"), pieces)
        written = 0
        while written < lesson.conversations:
            messages = _conversation(writer)
            if len(messages) > 2:
                written += 1
                yield {"messages": messages}


def _conversation(writer: SchemaWriter) -> list[Message]:
    lesson, rng = writer.lesson, writer.rng
    spec = writer.database()
    register = "natural" if rng.random() < lesson.natural else "plain"
    language = "zh" if rng.random() < lesson.chinese else "en"
    with closing(sqlite3.connect(":memory:")) as connection:
        fill(connection, spec, rng.getrandbits(32))
        profile = profile_database(connection)
        drawn = list(write_questions(connection, profile, rng.randint(*lesson.turns), rng, register, language))
    messages: list[Message] = [{"role": "system", "content": SYSTEM}]
    for turn, bound in enumerate(drawn):
        ask = follow_up_turn(bound.question) if turn else user_turn(bound.question, render_ddl(profile.schema))
        messages.append({"role": "user", "content": ask})
        messages.append({"role": "assistant", "content": normalize_answer(bound.sql)})
    return messages
