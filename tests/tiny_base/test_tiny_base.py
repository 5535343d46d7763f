"""How the tiny base is made: schemas differ, held-out nouns are left out, and names are tokenized alike everywhere."""

import json
import random
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open

from text2sql.prompts import SYSTEM, normalize_answer
from text2sql.schema import read_schema
from text2sql.tiny_base.corpus import SchemaWriter, load_words, write_corpus
from text2sql.tiny_base.options import Lesson
from text2sql.toy.build import fill
from text2sql.toy.spec import load_specs

ROOT = Path(__file__).parents[2]
LESSON = Lesson(conversations=30, tables=(1, 4), columns=(2, 5), turns=(3, 6), natural=0.3, chinese=0.3, short_keys=0.3)


def test_random_schemas_hold_rows_and_differ():
    lessons = [replace(LESSON, tables=(count, count)) for count in range(1, 5)]
    rng = random.Random(3)
    names = set()
    for number in range(50):
        spec = SchemaWriter(load_words(), lessons[number % 4], rng).database()
        connection = sqlite3.connect(":memory:")
        connection.execute("PRAGMA foreign_keys = ON")
        fill(connection, spec, number)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert len(read_schema(connection).tables) == 1 + number % 4
        names.add(tuple(table.name for table in spec.tables))
    assert len(names) == 50


def test_nouns_of_held_out_databases_never_reach_the_corpus():
    held_out = {t.name.lower() for s in load_specs(ROOT / "data/toy") if s.split != "train" for t in s.tables}
    everything = set(load_words()["tables"])
    assert held_out & everything, "the test is empty unless the pool has such nouns"
    assert not held_out & set(load_words(frozenset(held_out))["tables"])


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

    lesson = Lesson(conversations=200, tables=(1, 3), columns=(2, 4), turns=(3, 5))
    rows = write_corpus([lesson], load_words(), "1")
    return train_tokenizer((json.dumps(row["messages"], ensure_ascii=False) for row in rows), 700)


def test_a_name_is_spelled_alike_in_schema_question_and_sql(tokenizer):
    def pieces(text: str) -> list[str]:
        return [tokenizer.decode([token]) for token in tokenizer(text).input_ids]

    name = pieces("brunsklow")
    for context in (
        "CREATE TABLE brunsklow (id INTEGER",
        "count the brunsklows.",
        "SELECT T1.brunsklow FROM x",
        "FROM brunsklow AS T1",
        "home_brunsklow",
        "(brunsklow)",
    ):
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


TINY = """
corpora:
  - path: OUT/first.jsonl
    lessons: [{conversations: 40, tables: [1, 2], columns: [2, 3], turns: [2, 3]}]
  - path: OUT/second.jsonl
    lessons: [{conversations: 3, tables: [1, 2], columns: [2, 3], turns: [2, 3], pieced: 1.0, invented: 0.9}]
toy_databases: data/toy
model: OUT/untrained
vocab_size: 400
shape: {hidden_size: 16, num_hidden_layers: 1, intermediate_size: 16, num_attention_heads: 1, num_key_value_heads: 1, head_dim: 16}
"""


def command(*arguments):
    run = [sys.executable, "-m", "text2sql.tiny_base", *map(str, arguments)]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_commands_make_a_model_and_ship_it(tmp_path):
    recipe = tmp_path / "prepare.yaml"
    recipe.write_text(TINY.replace("OUT", str(tmp_path)))
    result = command("prepare", recipe)
    assert result.returncode == 0, result.stderr
    assert [len((tmp_path / f"{name}.jsonl").read_text().splitlines()) for name in ("first", "second")] == [40, 3]
    first, files = (tmp_path / "first.jsonl").stat().st_mtime_ns, sorted((tmp_path / "untrained").iterdir())
    assert command("prepare", recipe).returncode == 0
    assert (tmp_path / "first.jsonl").stat().st_mtime_ns == first, "what exists is kept"
    assert sorted((tmp_path / "untrained").iterdir()) == files
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "README.md").write_text("card")
    (shipped / "stale.bin").write_text("old")
    assert command("ship", tmp_path / "untrained", shipped).returncode == 0
    assert (shipped / "README.md").read_text() == "card"
    assert not (shipped / "stale.bin").exists()
    weights = safe_open(shipped / "model.safetensors", "pt")
    assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {"torch.bfloat16"}  # noqa: SIM118
    assert json.loads((shipped / "generation_config.json").read_text()).get("do_sample", False) is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "RECIPE", "corpora=[{path: x, lesson: []}]"], "missing corpora.0.lessons"),
        (["prepare", "RECIPE", "exclude_world=data/toy"], "it is called 'toy_databases' now"),
        (
            [
                "prepare",
                "RECIPE",
                "corpora=[{path: x, lessons: [{conversations: 1, tables: [3, 1], columns: [1, 1], turns: [1, 1]}]}]",
            ],
            "lowest and highest",
        ),
        (["ship", "recipes", "x"], "not a whole model"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
    recipe = tmp_path / "prepare.yaml"
    recipe.write_text(TINY.replace("OUT", str(tmp_path)))
    result = command(*(recipe if argument == "RECIPE" else argument for argument in arguments))
    assert result.returncode == 2
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
