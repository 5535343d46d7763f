"""The tiny base's corpora: conversations of several questions over one random schema.

Showing a schema once and asking several questions teaches about three times as many answers per token as one
question a prompt would. The first turn has exactly the form that fine-tuning and inference use.
"""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from text2sql.prompts import SYSTEM, Message, follow_up_turn, normalize_answer, user_turn
from text2sql.schema import render_ddl
from text2sql.synth.generate import write_questions
from text2sql.synth.profile import profile_database
from text2sql.tiny_base.options import Lesson
from text2sql.tiny_base.random_schema import SchemaWriter, Words
from text2sql.toy.build import fill


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
