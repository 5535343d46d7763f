"""What prompts show of databases: stored values, readable names, and copies of training rows with other schemas."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from text2sql.data.prepare import prepare
from text2sql.errors import UserError
from text2sql.prompts import ask
from text2sql.records import Example, read_jsonl
from text2sql.schema.sqlite import schema_from_ddl

SHOP = """
CREATE TABLE shop (id INTEGER PRIMARY KEY, nm TEXT, kind TEXT);
CREATE TABLE sale (id INTEGER PRIMARY KEY, shop_id INTEGER REFERENCES shop(id), price REAL);
CREATE TABLE staff (id INTEGER PRIMARY KEY, shop_id INTEGER REFERENCES shop(id));
INSERT INTO shop VALUES (1, 'Bon Marché', 'F'), (2, 'Haus am See', 'M'), (3, 'Casa', 'F');
"""
BIRDS = "CREATE TABLE nest (id INTEGER, place TEXT); CREATE TABLE bird (id INTEGER);"
ROWS = [
    {
        "question": "What did the BON MARCHE shop sell?",
        "sql": "SELECT nm FROM shop WHERE nm = 'Bon Marché'",
        "db_id": "shop",
    },
    {"question": "How many shops?", "sql": "SELECT count(*) FROM shop", "db_id": "shop"},
]
SCHEMA_FORM = {
    "db_id": "shop",
    "table_names_original": ["shop"],
    "column_names_original": [[-1, "*"], [0, "id"], [0, "nm"], [0, "kind"]],
    "column_names": [[-1, "*"], [0, "id"], [0, "name"], [0, "kind"]],
    "column_types": ["text", "number", "text", "text"],
    "primary_keys": [1],
    "foreign_keys": [],
}


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    for name, script in {"shop": SHOP, "birds": BIRDS}.items():
        (tmp_path / "db" / name).mkdir(parents=True)
        with closing(sqlite3.connect(tmp_path / f"db/{name}/{name}.sqlite")) as connection:
            connection.executescript(script)
    for split, rows in {"train": ROWS, "dev": ROWS[:1]}.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "tables.json").write_text(json.dumps([SCHEMA_FORM]), encoding="utf-8")
    return {
        "source": "rows",
        "name": "shop",
        "output": str(tmp_path / "out"),
        "folder": str(tmp_path),
        "files": {"train": ["train.jsonl"], "dev": ["dev.jsonl"]},
        "database_root": str(tmp_path / "db"),
        "values": {"folder": str(tmp_path / "indexes")},
    }


def prompts(folder: Path, split: str) -> list[str]:
    lines = (folder / f"sft_{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"][1]["content"] for line in lines]


def test_values_stand_between_schema_and_question(recipe: dict[str, Any], tmp_path: Path) -> None:
    prepare(recipe, "recipe")
    first, second = read_jsonl(tmp_path / "out/examples/train.jsonl", Example)
    assert first.values == "shop.nm = 'Bon Marché'"
    assert second.values == ""
    schema = first.schema
    assert ask(first)[1]["content"] == f"[SCHEMA]\n{schema}\n\n[VALUES]\n{first.values}\n\n[QUESTION]\n{first.question}"
    assert sorted(prompts(tmp_path / "out", "train")) == sorted(ask(e)[1]["content"] for e in (first, second))
    assert "values" not in json.loads(
        (tmp_path / "out/examples/train.jsonl").read_text(encoding="utf-8").splitlines()[1]
    )


def test_columns_are_told_by_values_and_readable_names(recipe: dict[str, Any], tmp_path: Path) -> None:
    shown = {"schema_style": "ddl_values", "descriptions": True, "tables": str(tmp_path / "tables.json")}
    prepare(recipe | shown, "recipe")
    (example,) = read_jsonl(tmp_path / "out/examples/dev.jsonl", Example)
    assert "  nm TEXT, -- name; 'Bon Marché'\n  kind TEXT -- 'F', 'M'\n" in example.schema
    assert schema_from_ddl(example.schema).tables[0].name == "shop"


def test_training_rows_get_copies_and_others_none(recipe: dict[str, Any], tmp_path: Path) -> None:
    vary = {"copies": 6, "reorder": 1.0, "leave_out": 1.0, "add": 1.0, "plain": 0.5}
    prepare(recipe | {"vary": vary, "schema_style": "ddl_values"}, "recipe")
    assert len(list(read_jsonl(tmp_path / "out/examples/train.jsonl", Example))) == 2
    assert len(prompts(tmp_path / "out", "dev")) == 1
    made = prompts(tmp_path / "out", "train")
    assert len(made) == 12
    assert len(set(made)) > 9
    for prompt in made:
        tables = schema_from_ddl(prompt.split("[SCHEMA]\n")[1].split("\n\n[")[0]).tables
        assert "shop" in {table.name for table in tables}
    assert any("CREATE TABLE bird" in prompt or "CREATE TABLE nest" in prompt for prompt in made)
    assert any("staff" not in prompt for prompt in made)
    assert 0 < sum("[VALUES]" in prompt for prompt in made) < 6
    again = tmp_path / "again"
    prepare(recipe | {"vary": vary, "schema_style": "ddl_values", "output": str(again)}, "recipe")
    assert (again / "sft_train.jsonl").read_bytes() == (tmp_path / "out/sft_train.jsonl").read_bytes()


def test_copies_reach_only_training_rows_of_a_recipes_own_split(recipe: dict[str, Any], tmp_path: Path) -> None:
    rows = [
        {**ROWS[1], "question": f"How many shops, {n}?", "sql": f"SELECT count(*) + {n} FROM shop"} for n in range(40)
    ]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    split = {
        "files": {"all": ["all.jsonl"]},
        "split": {"train": 0.8, "val": 0.2},
        "split_by": "random",
        "vary": {"copies": 2},
    }
    prepare(recipe | split, "recipe")
    for name, times in {"train": 2, "val": 1}.items():
        examples = list(read_jsonl(tmp_path / f"out/examples/{name}.jsonl", Example))
        assert len(prompts(tmp_path / "out", name)) == times * len(examples)


def test_val_databases_leave_the_training_rows(recipe: dict[str, Any], tmp_path: Path) -> None:
    rows = [*ROWS, {"question": "How many nests?", "sql": "SELECT count(*) FROM nest", "db_id": "birds"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare(recipe | {"val_databases": 1, "vary": {"copies": 3}}, "recipe")
    found = {name: list(read_jsonl(tmp_path / f"out/examples/{name}.jsonl", Example)) for name in ("train", "val")}
    assert {e.db_id for e in found["train"]}.isdisjoint({e.db_id for e in found["val"]})
    assert {name: {e.split for e in examples} for name, examples in found.items()} == {
        "train": {"train"},
        "val": {"val"},
    }
    assert len(prompts(tmp_path / "out", "val")) == len(found["val"])
    assert len(prompts(tmp_path / "out", "train")) == 3 * len(found["train"])
    assert "shop_val" in json.loads((tmp_path / "out/dataset_info.json").read_text(encoding="utf-8"))
    with pytest.raises(UserError, match="2 of 2 databases leave none to train on"):
        prepare(recipe | {"val_databases": 2}, "recipe")


def test_a_wrong_key_is_named(recipe: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"unknown key 'values\.mots'"):
        prepare(recipe | {"values": {"mots": 3}}, "recipe")
