"""The tiny base's corpus: conversations of several questions over one random schema.

Showing a schema once and asking several questions teaches about three times as many answers per token as one
question a prompt would; the first turn has exactly the form that fine-tuning and inference use.
"""

import random
import sqlite3
from collections.abc import Iterator
from typing import Any

from pydantic.dataclasses import dataclass

from text2sql.prompts import SYSTEM, Message, follow_up_turn, normalize_answer, user_turn
from text2sql.recipe import STRICT
from text2sql.schema import render_ddl
from text2sql.synth.generate import write_questions
from text2sql.synth.profile import profile_database
from text2sql.tiny_base.random_schema import SchemaWriter, Words
from text2sql.toy.build import fill


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Lesson:
    """A part of the curriculum: ``conversations`` over databases of this many ``tables`` and ``columns`` (low, high).

    ``turns``: questions a conversation (low, high). ``natural`` and ``chinese``: shares of conversations whose
    questions are natural rather than plain, and Chinese rather than English. ``short_keys``: share of tables with an
    abbreviated key. ``pieced``: share of invented words put together from the tokenizer's pieces;
    ``invented``: share of invented words, and ``camel`` of CamelCase databases, as in
    :class:`SchemaWriter`.
    """

    conversations: int
    tables: list[int]
    columns: list[int]
    turns: list[int]
    natural: float = 0.0
    chinese: float = 0.0
    short_keys: float = 0.0
    pieced: float = 0.0
    invented: float = 0.3
    camel: float = 0.15


def write_corpus(
    lessons: list[Lesson], words: Words, seed: str, pieces: tuple[str, ...] = ()
) -> Iterator[dict[str, Any]]:
    """Yield ``{"messages": [...]}`` in the order of the lessons; ``pieces`` as in :class:`SchemaWriter`."""
    for number, lesson in enumerate(lessons):
        rng = random.Random(f"{seed}/{number}")
        writer = SchemaWriter(words, rng, pieces, lesson.pieced, lesson.invented, lesson.camel)
        written = 0
        while written < lesson.conversations:
            messages = _conversation(writer, lesson, rng)
            if len(messages) > 2:
                written += 1
                yield {"messages": messages}


def _conversation(writer: SchemaWriter, lesson: Lesson, rng: random.Random) -> list[Message]:
    columns = (lesson.columns[0], lesson.columns[1])
    spec = writer.database("random", rng.randint(*lesson.tables), columns, lesson.short_keys)
    register = "natural" if rng.random() < lesson.natural else "plain"
    language = "zh" if rng.random() < lesson.chinese else "en"
    connection = sqlite3.connect(":memory:")
    try:
        fill(connection, spec, rng.getrandbits(32))
        profile = profile_database(connection)
        drawn = list(write_questions(connection, profile, rng.randint(*lesson.turns), rng, register, language))
    finally:
        connection.close()
    messages: list[Message] = [{"role": "system", "content": SYSTEM}]
    for turn, (_, bound) in enumerate(drawn):
        ask = follow_up_turn(bound.question) if turn else user_turn(bound.question, render_ddl(profile.schema))
        messages.append({"role": "user", "content": ask})
        messages.append({"role": "assistant", "content": normalize_answer(bound.sql)})
    return messages
