"""Tables of questions in every format, for the tests of data preparation."""

import csv
import gzip
import json
import sqlite3

import pytest

from text2sql.data.prepare import prepare
from text2sql.prompts import build_messages, gold_answer
from text2sql.records import TracedExample, read_jsonl

DDL = "CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT); INSERT INTO singer VALUES (1, 'Ann', 30), (2, 'Bo', 40);"


def rows(count=6):
    return [
        {
            "question": f"Which singers are older than {n}?",
            "sql": f"SELECT name FROM singer WHERE age > {n}",
            "schema": DDL,
        }
        for n in range(count)
    ]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def training_messages(example):
    """What a plain training file teaches of an example."""
    asked = build_messages(example.question, example.schema, example.evidence)
    return [*asked, {"role": "assistant", "content": gold_answer(example.sql)}]


def write(path, table):
    """The table in the format that the file's name says."""
    kind = [suffix for suffix in path.suffixes if suffix not in (".gz", ".zst")][-1]
    if kind == ".parquet":
        import pyarrow
        from pyarrow import parquet

        return parquet.write_table(pyarrow.Table.from_pylist(table), path)
    if kind in (".csv", ".tsv"):
        target = path.with_suffix(".plain")
        with target.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, list(table[0]), delimiter="," if kind == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(table)
        data = target.read_bytes()
    else:
        text = json.dumps(table, ensure_ascii=False) if kind == ".json" else "\n".join(json.dumps(row) for row in table)
        data = text.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    if path.suffix == ".zst":
        data = pytest.importorskip("zstandard").compress(data)
    path.write_bytes(data)
    return None


def recipe(tmp_path, files=None, source="rows", **more):
    return {
        "source": source,
        "name": "mine",
        "output": str(tmp_path / "out"),
        "folder": str(tmp_path),
        "files": files or {},
        **more,
    }


def make(tmp_path, source, table, split="train", **more):
    """The examples and rejects of prepared rows."""
    write(tmp_path / "a.json", table)
    report = prepare(recipe(tmp_path, {split: ["a.json"]}, source, **more), "r")
    found = list(read_jsonl(tmp_path / "out" / "examples" / "train.jsonl", TracedExample))
    return found, report["splits"]["train"]


def music(folder):
    """The folder with the database ``music`` in it."""
    (folder / "music").mkdir(parents=True)
    with sqlite3.connect(folder / "music" / "music.sqlite") as connection:
        connection.executescript(DDL)
    connection.close()
    return folder
