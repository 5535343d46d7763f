"""The tiny base's making: schemas never repeat, held-out nouns stay out, and names are spelled the same everywhere."""

import json
import random
import sqlite3
from pathlib import Path

import pytest

from text2sql.prompts import SYSTEM, normalize_answer
from text2sql.schema import read_schema
from text2sql.tiny_base.corpus import Lesson, write_corpus
from text2sql.tiny_base.random_schema import SchemaWriter, load_words
from text2sql.toy.build import fill
from text2sql.toy.load import load_world

ROOT = Path(__file__).parents[2]
LESSON = Lesson(conversations=30, tables=[1, 4], columns=[2, 5], turns=[3, 6], natural=0.3, chinese=0.3, short_keys=0.3)


def test_random_schemas_hold_rows_and_differ():
    writer = SchemaWriter(load_words(), random.Random(3))
    names = set()
    for number in range(50):
        spec = writer.database("x", 1 + number % 4, (2, 5), short_keys=0.3)
        connection = sqlite3.connect(":memory:")
        connection.execute("PRAGMA foreign_keys = ON")
        fill(connection, spec, number)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert len(read_schema(connection).tables) == 1 + number % 4
        names.add(tuple(table.name for table in spec.tables))
    assert len(names) == 50


def test_nouns_of_held_out_databases_never_reach_the_corpus():
    held_out = {t.name.lower() for s in load_world(ROOT / "data/toy") if s.split != "train" for t in s.tables}
    everything = set(load_words().tables)
    assert held_out & everything, "the test is empty unless the pool has such nouns"
    assert not held_out & set(load_words(frozenset(held_out)).tables)


def test_the_corpus_is_the_same_for_the_same_seed_and_its_sql_is_normal():
    first, again = (list(write_corpus([LESSON], load_words(), "7")) for _ in range(2))
    assert first == again
    assert first != list(write_corpus([LESSON], load_words(), "8"))
    for row in first:
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)]
        assert row["messages"][0]["content"] == SYSTEM
        assert row["messages"][1]["content"].startswith("[SCHEMA]\nCREATE TABLE ")
        for answer in row["messages"][2::2]:
            assert answer["content"] == normalize_answer(answer["content"])
            assert answer["content"].startswith("SELECT ")


@pytest.fixture(scope="module")
def tokenizer():
    from text2sql.tiny_base.model import train_tokenizer

    rows = write_corpus([Lesson(200, [1, 3], [2, 4], [3, 5])], load_words(), "1")
    return train_tokenizer((json.dumps(row["messages"], ensure_ascii=False) for row in rows), 700)


def test_a_name_is_spelled_alike_in_schema_question_and_sql(tokenizer):
    def pieces(text: str) -> list[str]:
        return [tokenizer.decode([token]) for token in tokenizer(text).input_ids]

    name = pieces("brunsklow")
    for context in ("CREATE TABLE brunsklow (id INTEGER", "count the brunsklows.", "SELECT T1.brunsklow FROM x",
                    "FROM brunsklow AS T1", "home_brunsklow", "(brunsklow)"):  # fmt: skip
        found = pieces(context)
        assert any(found[i : i + len(name)] == name for i in range(len(found))), (context, found)


@pytest.mark.parametrize(
    "text", ["SELECT  a\n\tFROM b -- é", "名称为 'Zoë' 的 singer？", "x\u0000y 😀", "IDs ABCs a1B2"]
)
def test_the_tokenizer_loses_nothing(tokenizer, text: str):
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_qwen3_tokens_are_single(tokenizer):
    for token in ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>"):
        assert len(tokenizer(token).input_ids) == 1
    assert tokenizer.eos_token == "<|im_end|>"
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
