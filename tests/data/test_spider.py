"""Preparing Spider: odd names and broken rows in a small folder of its layout, and the real one where it is."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from text2sql.data.prepare import finished_report, prepare
from text2sql.errors import UserError
from text2sql.prompts import build_messages
from text2sql.recipe import load_recipe
from text2sql.records import Example, read_jsonl
from text2sql.schema import open_readonly, read_schema
from text2sql.schema.tables_json import spider_entry

ROOT = Path(__file__).parents[2]
SPIDER = Path(os.environ.get("TEXT2SQL_SHARED", ROOT.parent / "shared")) / "spider"
needs_spider = pytest.mark.skipif(not SPIDER.is_dir(), reason=f"Spider is not at {SPIDER} (set TEXT2SQL_SHARED)")


def examples(output, split):
    return list(read_jsonl(output / "examples" / f"{split}.jsonl", Example))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


GOOD = {"db_id": "pets", "question": "How many pets?", "query": 'SELECT count(*) FROM "Pet Kinds"'}


@pytest.fixture
def spider(tmp_path):
    """A folder in Spider's layout with one database of odd names, and the keys of a recipe for it."""
    folder = tmp_path / "spider"
    (folder / "database" / "pets").mkdir(parents=True)
    with sqlite3.connect(folder / "database" / "pets" / "pets.sqlite") as connection:
        connection.execute('CREATE TABLE "Pet Kinds" (a INT, "order" TEXT, PRIMARY KEY (a, "order"))')
        connection.execute("INSERT INTO \"Pet Kinds\" VALUES (1, CAST(x'41FF' AS TEXT)), (2, 'b')")
    connection.close()
    (folder / "dev.json").write_text(json.dumps([GOOD]))
    (folder / "train_spider.json").write_text(json.dumps([GOOD]))
    return {"source": "spider", "name": "spider", "output": str(tmp_path / "out"), "folder": str(folder)}


def test_spider_keeps_what_runs_and_rejects_the_rest_with_reasons(spider, tmp_path):
    rows = [
        GOOD,
        {**GOOD, "query": 'SELECT wings FROM "Pet Kinds"'},
        {**GOOD, "db_id": "birds"},
        {**GOOD, "query": 'SELECT "order" FROM "Pet Kinds" ORDER BY a'},
        {**GOOD, "query": 'DELETE FROM "Pet Kinds"'},
    ]
    (Path(spider["folder"]) / "train_spider.json").write_text(json.dumps(rows))
    report = prepare({**spider, "unit_rows": 2}, "spider.yaml")
    assert report["splits"]["train"]["kept"] == 2
    assert report["splits"]["train"]["rejected"] == {
        "gold does not run (forbidden)": 1,
        "gold does not run (no_such_column)": 1,
        "missing database": 1,
    }
    train = examples(tmp_path / "out", "train")
    assert [example.question_id for example in train] == ["train-00001", "train-00004"]
    assert train[0].schema == 'CREATE TABLE "Pet Kinds" (a INT, "order" TEXT, PRIMARY KEY (a, "order"));'
    assert train[0].difficulty == "easy"
    rejected = lines(tmp_path / "out" / "rejected.jsonl")
    assert [row["question_id"] for row in rejected] == ["train-00002", "train-00003", "train-00005"]
    assert "wings" in rejected[0]["detail"]
    assert rejected[1]["detail"] == "train_spider.json row 3: birds/birds.sqlite"
    connection = open_readonly(Path(spider["folder"]) / "database" / "pets" / "pets.sqlite")
    assert connection.execute('SELECT count(*) FROM "Pet Kinds"').fetchone() == (2,), "gold must not write"


def test_long_prompts_leave_training_files_but_not_examples(spider, tmp_path):
    rows = [GOOD, {**GOOD, "question": "How many pets " + "of any kind " * 40}]
    (Path(spider["folder"]) / "train_spider.json").write_text(json.dumps(rows))
    report = prepare({**spider, "max_prompt_chars": 400}, "spider.yaml")
    found = report["splits"]["train"]
    assert (found["kept"], found["over_max_prompt_chars"]) == (2, 1)
    assert report["files"]["sft_train.jsonl"]["rows"] == 1
    long = examples(tmp_path / "out", "train")[1]
    assert found["prompt_chars"]["max"] == sum(len(m["content"]) for m in build_messages(long.question, long.schema))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("dev.json", json.dumps([GOOD, GOOD])[:-30], "file is cut off or damaged (dev.json row 2: "),
        (
            "dev.json",
            json.dumps([GOOD, {"db_id": "pets"}]),
            "missing key (dev.json row 2: no key 'question'; found 'db_id')",
        ),
        (
            "dev.json",
            json.dumps([{**GOOD, "query": 3}, GOOD]),
            "wrong type (dev.json row 1: 'query' should be str, found int)",
        ),
        ("dev.json", json.dumps([{**GOOD, "query": " "}, GOOD]), "empty value (dev.json row 1: 'query' is empty)"),
        ("dev.json", json.dumps([GOOD, "text"]), "not an object (dev.json row 2: found str)"),
        (
            "dev.json",
            b"[" + json.dumps(GOOD).encode() + b', {"question": "caf\xe9", "query": "x"}]',
            "damaged text (dev.json row 2: ",
        ),
        ("database/pets/pets.sqlite", "no database at all " * 9, "not a database (dev.json row 1: "),
    ],
)
def test_bad_rows_are_left_out_with_file_and_row(spider, tmp_path, file, text, message):
    path = Path(spider["folder"]) / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if file != "dev.json":
        with pytest.raises(UserError, match="not a database"):
            prepare(spider, "spider.yaml")
        assert finished_report(tmp_path / "out") is None
    else:
        report = prepare(spider, "spider.yaml")
        assert report["splits"]["dev"]["kept"] == 1
        assert sum(report["splits"]["dev"]["rejected"].values()) == 1
    found = (
        [f"{row['reason']} ({row['detail']})" for row in lines(tmp_path / "out" / "rejected.jsonl")]
        if file == "dev.json"
        else []
    )
    assert file != "dev.json" or found[0].startswith(message[:-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no row could be used; the first: file is cut off or damaged (dev.json row 1: the file is empty"),
        (None, "dev.json: no such file"),
        (json.dumps({"rows": [GOOD]}), "no key 'question'"),
    ],
)
def test_a_file_without_any_use_is_one_line(spider, tmp_path, text, message):
    path = Path(spider["folder"]) / "dev.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        prepare({**spider, "train": []}, "spider.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert finished_report(tmp_path / "out") is None


def test_command_ends_in_one_line_without_spider(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "text2sql.data", "recipes/data/spider.yaml", f"output={tmp_path}/out"],
        cwd=ROOT,
        env={**os.environ, "TEXT2SQL_SHARED": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.strip().startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert "folder=PATH" in result.stderr
    assert not (tmp_path / "out").exists()


@needs_spider
def test_real_spider_loses_no_row_without_a_reason(tmp_path):
    values = load_recipe(
        ROOT / "recipes" / "data" / "spider.yaml",
        [f"output={tmp_path}", f"folder={SPIDER}", f"values.folder={tmp_path}/values"],
    )
    report = prepare(values, "spider.yaml")
    train, val, dev = (report["splits"][name] for name in ("train", "val", "dev"))
    assert train["kept"] + sum(train["rejected"].values()) + val["kept"] == 7000
    assert val["databases"] == 8
    assert sum(count for reason, count in train["rejected"].items() if reason != "missing database") <= 3
    assert (dev["kept"], dev["rejected"]) == (1034, {})
    assert dev["difficulty"] == {"easy": 248, "medium": 446, "hard": 174, "extra": 166}
    gold = (SPIDER / "dev_gold.sql").read_text().splitlines()
    assert [f"{e.sql}\t{e.db_id}" for e in examples(tmp_path, "dev")] == [line.strip() for line in gold]


@needs_spider
def test_tables_json_equals_spiders_own_for_its_databases():
    own = {entry["db_id"]: entry for entry in json.loads((SPIDER / "tables.json").read_text())}
    for db_id in ("concert_singer", "pets_1", "car_1", "dog_kennels"):
        connection = open_readonly(SPIDER / "database" / db_id / f"{db_id}.sqlite")
        made = spider_entry(db_id, read_schema(connection))
        connection.close()
        for key in ("table_names_original", "column_names_original", "primary_keys"):
            assert made[key] == own[db_id][key], (db_id, key)
        assert sorted(made["foreign_keys"]) == sorted(own[db_id]["foreign_keys"])
