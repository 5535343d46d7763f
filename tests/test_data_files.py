"""Any table of questions and SQL: every format, every source's columns, splits without overlap, bad rows by file and number."""

import csv
import gzip
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from text2sql.data import finished_report, prepare
from text2sql.errors import UserError
from text2sql.prompts import parse_completion, read_answer, training_messages
from text2sql.records import Example, TracedExample, read_jsonl

ROOT = Path(__file__).parents[1]
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


@pytest.mark.parametrize(
    "name",
    [
        "a.json",
        "a.jsonl",
        "a.ndjson",
        "a.csv",
        "a.tsv",
        "a.parquet",
        "a.json.gz",
        "a.jsonl.gz",
        "a.csv.gz",
        "a.jsonl.zst",
    ],
)
def test_every_format_gives_the_same_examples(tmp_path, name):
    write(tmp_path / name, rows())
    report = prepare(recipe(tmp_path, {"train": [name]}), "r")
    assert (report["splits"]["train"]["kept"], report["splits"]["train"]["rejected"]) == (6, {})
    examples = list(read_jsonl(tmp_path / "out" / "examples" / "train.jsonl", Example))
    assert [e.sql for e in examples] == [row["sql"] for row in rows()]
    assert {e.schema for e in examples} == {"CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT);"}
    assert {e.difficulty for e in examples} == {"easy"}
    taught = lines(tmp_path / "out" / "sft_train.jsonl")
    assert sorted(map(str, taught)) == sorted(str({"messages": training_messages(e)}) for e in examples)


GOOD = rows(1)[0]


@pytest.mark.parametrize(
    ("name", "data", "reason", "detail"),
    [
        ("a.json", json.dumps([GOOD, GOOD]).encode()[:-60], "file is cut off or damaged", "a.json row 2: "),
        ("a.jsonl", b"\n".join([json.dumps(GOOD).encode(), b'{"question": ']), "not valid JSON", "a.jsonl row 2: "),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "caf\xe9", "sql": "x"}']),
            "damaged text",
            "a.jsonl row 2: ",
        ),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "a\\ud800", "sql": "x"}']),
            "damaged text",
            "a.jsonl row 2: ",
        ),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "x", "sql": ["a"]}']),
            "wrong type",
            "a.jsonl row 2: 'sql' should be str, found list",
        ),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "x"}']),
            "missing key",
            "a.jsonl row 2: no key 'sql'; found 'question'",
        ),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "x", "sql": "SELEC 1"}']),
            "gold does not parse",
            "a.jsonl row 2: ",
        ),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "x", "sql": "DROP TABLE a"}']),
            "gold does not parse",
            "a.jsonl row 2: Drop",
        ),
        ("a.csv", b"question,sql\nx,SELECT 1\ny\n", "wrong number of fields", "a.csv row 2: expected 2 (line 3)"),
        ("a.csv", b'question,sql\nx,SELECT 1\n"y,SELECT 1', "file is cut off or damaged", "a.csv row 2: "),
        (
            "a.json.gz",
            gzip.compress(json.dumps([GOOD, GOOD] * 500).encode())[:-30],
            "file is cut off or damaged",
            "a.json.gz row ",
        ),
    ],
)
def test_bad_rows_are_counted_with_file_and_number(tmp_path, name, data, reason, detail):
    (tmp_path / name).write_bytes(data)
    report = prepare(recipe(tmp_path, {"train": [name]}), "r")
    assert report["splits"]["train"]["kept"] >= 1
    assert report["splits"]["train"]["rejected"].get(reason) == 1
    (row,) = [row for row in lines(tmp_path / "out" / "rejected.jsonl") if row["reason"] == reason]
    assert row["detail"].startswith(detail)
    assert report["splits"]["train"]["rejected_examples"][reason][0]["detail"] == row["detail"]


def test_a_parquet_file_cut_off_and_a_file_of_unknown_kind(tmp_path):
    write(tmp_path / "a.parquet", rows())
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:-50])
    with pytest.raises(UserError, match="no row could be used; the first: file is cut off or damaged"):
        prepare(recipe(tmp_path, {"train": ["a.parquet"]}), "r")
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(UserError, match="expected a file ending in"):
        prepare(recipe(tmp_path, {"train": ["a.xlsx"]}), "r")


def test_marks_of_other_encodings_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        "\ufeff".encode() + json.dumps({"question": "多少", "sql": "SELECT 1"}, ensure_ascii=False).encode()
    )
    (tmp_path / "b.jsonl").write_bytes(
        json.dumps({"question": "几个?", "sql": "SELECT 2"}, ensure_ascii=False).encode("utf-16")
    )
    report = prepare(recipe(tmp_path, {"train": ["a.jsonl", "b.jsonl"]}), "r")
    assert (report["splits"]["train"]["kept"], report["splits"]["train"]["rejected"]) == (2, {})


@pytest.mark.parametrize(
    ("schema", "sql", "reason"),
    [
        ('CREATE TABLE "order" ("select" INT, "Größe in cm" REAL)', 'SELECT "Größe in cm" FROM "order"', None),
        (
            "CREATE TABLE t (id INT AUTO_INCREMENT, kind ENUM('a','b') DEFAULT 'a', PRIMARY KEY (id)) ENGINE=InnoDB;",
            "SELECT kind FROM t",
            None,
        ),
        ("CREATE TABLE t (id serial, at timestamp default now())", "SELECT at FROM t", None),
        ("A database of singers with their names.", "SELECT name FROM singer", "schema cannot be built"),
        (
            "CREATE TABLE t (a); ATTACH DATABASE 'stolen.db' AS x; CREATE TABLE x.y (z)",
            "SELECT a FROM t",
            "schema cannot be built",
        ),
        ("CREATE TABLE t (a)", "SELECT b FROM t", "gold does not run (no_such_column)"),
        ("CREATE TABLE t (a)", "SELECT load_extension('x')", "gold does not run (forbidden)"),
        (
            "CREATE TABLE t (a)",
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r WHERE n < 0",
            "gold does not run (timeout)",
        ),
    ],
)
def test_schema_text_is_built_and_asked(tmp_path, monkeypatch, schema, sql, reason):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", [GOOD, {"question": "What?", "sql": sql, "schema": schema}])
    report = prepare(recipe(tmp_path, {"train": ["a.jsonl"]}, timeout=0.3), "r")
    assert report["splits"]["train"]["rejected"] == ({reason: 1} if reason else {})
    assert not (tmp_path / "stolen.db").exists()


def test_duplicates_are_dropped_once_with_their_kind(tmp_path):
    other = {**GOOD, "sql": "SELECT id FROM singer"}
    again = {**GOOD, "question": GOOD["question"].upper(), "sql": GOOD["sql"].lower() + ";"}
    elsewhere = {**GOOD, "schema": DDL.replace("age INT", "age REAL")}
    write(tmp_path / "a.jsonl", [GOOD, again, other, elsewhere])
    report = prepare(recipe(tmp_path, {"train": ["a.jsonl"]}), "r")
    assert report["splits"]["train"]["rejected"] == {
        "duplicate question and SQL": 1,
        "duplicate question, other SQL": 1,
    }
    kept = prepare(recipe(tmp_path, {"train": ["a.jsonl"]}, duplicates="keep", output=str(tmp_path / "o2")), "r")
    assert kept["splits"]["train"]["kept"] == 4


@pytest.mark.parametrize("by", ["database", "random"])
def test_splits_share_nothing(tmp_path, by):
    table = [
        {
            **row,
            "question": f"{row['question']} {n % 40}",
            "schema": DDL.replace("singer (", f"singer (x{n % 12} INT, ")
            .replace("VALUES (", "VALUES (0, ")
            .replace("), (", "), (0, "),
        }
        for n, row in enumerate(rows(8) * 30)
    ]
    write(tmp_path / "a.jsonl", table)
    values = recipe(
        tmp_path, {"all": ["a.jsonl"]}, split={"train": 0.7, "val": 0.15, "test": 0.15}, split_by=by, seed=5
    )
    report = prepare(values, "r")
    found = {
        name: list(read_jsonl(tmp_path / "out" / "examples" / f"{name}.jsonl", Example))
        for name in ("train", "val", "test")
    }
    assert all(found.values())
    assert len(found["train"]) > len(found["val"]) + len(found["test"])
    for pair, shared in report["overlap"].items():
        one, _, other = pair.split()
        assert (shared["questions"], shared["queries"]) == (0, 0)
        assert not {(e.db_id, e.sql) for e in found[one]} & {(e.db_id, e.sql) for e in found[other]}
        if by == "database":
            assert shared["databases"] == 0
            assert not {e.db_id for e in found[one]} & {e.db_id for e in found[other]}
        else:
            assert not {e.question for e in found[one]} & {e.question for e in found[other]}
    again = prepare({**values, "output": str(tmp_path / "again")}, "r")
    assert again["data_hash"] == report["data_hash"]
    assert prepare({**values, "seed": 6, "output": str(tmp_path / "other")}, "r")["data_hash"] != report["data_hash"]


def test_leaks_leave_the_training_split_only(tmp_path):
    write(tmp_path / "dev.jsonl", [{**GOOD, "db_id": "music"}])
    write(
        tmp_path / "a.jsonl", [{**GOOD, "question": "Who is old?", "sql": GOOD["sql"].replace("0", "77")}, *rows(3)[2:]]
    )
    clean = {"against": [str(tmp_path / "dev.jsonl")], "rules": ["sql"]}
    report = prepare(
        recipe(tmp_path, {"train": ["a.jsonl"], "dev": ["a.jsonl"]}, decontaminate=clean, duplicates="keep"), "r"
    )
    assert report["splits"]["train"]["rejected"] == {"leak (sql)": 2}
    assert report["splits"]["dev"]["kept"] == 2
    assert "dev.jsonl row 1" in lines(tmp_path / "out" / "rejected.jsonl")[0]["detail"]


def test_formats_teach_the_same_answers_and_llamafactory_reads_their_descriptions(tmp_path):
    table = [{**row, "rejected": "SELECT id FROM singer"} for row in rows(3)] + rows(5)[3:]
    write(tmp_path / "a.jsonl", table)
    values = recipe(
        tmp_path, {"train": ["a.jsonl"]}, formats=["messages", "alpaca", "ranking", "grpo"], answer="process"
    )
    report = prepare(values, "r")
    out = tmp_path / "out"
    assert report["files"]["ranking_train.jsonl"]["rows"] == 3
    messages, alpaca, grpo = (lines(out / f"{name}_train.jsonl") for name in ("sft", "alpaca", "grpo"))
    answers = {row["messages"][-1]["content"] for row in messages}
    assert {row["output"] for row in alpaca} == answers == {row["messages"][-1]["content"] for row in grpo}
    assert {row["sql"] for row in grpo} == {row["sql"] for row in table}
    for answer in answers:
        parts = read_answer(answer)
        assert (parts.format, parts.flaws, parts.type) == ("process", (), "sql")
        assert parse_completion(answer).startswith("SELECT name FROM singer WHERE age >")
        assert "Filter: age >" in parts.reasoning
    pair = lines(out / "ranking_train.jsonl")[0]
    assert parse_completion(pair["rejected"]["content"]) == "SELECT id FROM singer"
    info = json.loads((out / "dataset_info.json").read_text())
    assert set(info) == {"mine_train", "mine_train_alpaca", "mine_train_ranking", "mine_train_grpo"}
    assert info["mine_train_ranking"]["ranking"] is True
    page = (out / "data_preparation_report.html").read_text()
    assert page.count("<svg") == 4
    assert "Hardness" in page


@pytest.mark.slow
def test_llamafactory_loads_every_format(tmp_path):
    from llamafactory.data.parser import get_dataset_list

    write(tmp_path / "a.jsonl", [{**row, "rejected": "SELECT 1"} for row in rows(3)])
    prepare(recipe(tmp_path, {"train": ["a.jsonl"]}, formats=["messages", "alpaca", "ranking", "grpo"]), "r")
    names = ["mine_train", "mine_train_alpaca", "mine_train_ranking", "mine_train_grpo"]
    found = get_dataset_list(names, str(tmp_path / "out"))
    assert [one.formatting for one in found] == ["sharegpt", "alpaca", "sharegpt", "sharegpt"]
    assert [one.ranking for one in found] == [False, False, True, False]


def test_sources_know_their_columns(tmp_path):
    sql = "SELECT name FROM singer"
    think = f"<think>\nnames are asked\n</think>\n<answer>\n{sql}\n</answer>"
    tables = {
        "text2sql_dataset": {"prompt": "Which names?", "context": DDL, "answer": sql},
        "alpaca": {"instruction": DDL, "input": "Which names?", "output": f"```sql\n{sql}\n```"},
        "process": {"query": "有哪些名字？", "response": think, "type": "sql", "schema": DDL},
        "bird": {
            "question": "Which names?",
            "SQL": sql,
            "db_id": "music",
            "evidence": "names are in name",
            "question_id": 17,
            "difficulty": "simple",
        },
    }
    (tmp_path / "db" / "music").mkdir(parents=True)
    with sqlite3.connect(tmp_path / "db" / "music" / "music.sqlite") as connection:
        connection.executescript(DDL)
    connection.close()
    for source, row in tables.items():
        write(tmp_path / f"{source}.jsonl", [row])
        more = {"databases": str(tmp_path / "db")} if source == "bird" else {}
        prepare(recipe(tmp_path, {"train": [f"{source}.jsonl"]}, source, output=str(tmp_path / source), **more), "r")
        (example,) = read_jsonl(tmp_path / source / "examples" / "train.jsonl", TracedExample)
        assert (example.sql, example.source) == (sql, source)
        assert example.schema.startswith("CREATE TABLE singer (id INT PRIMARY KEY")
        if source == "process":
            assert (example.reasoning, example.kind, example.question) == ("names are asked", "sql", "有哪些名字？")
        if source == "bird":
            assert (example.question_id, example.evidence, example.difficulty) == (
                "train-17",
                "names are in name",
                "simple",
            )


def test_alpaca_takes_whole_prompts_apart(tmp_path):
    write(
        tmp_path / "a.jsonl",
        [
            {
                "instruction": f"[SCHEMA]\n{DDL}\n[QUESTION]\nWhich names?",
                "input": "",
                "output": "SELECT name FROM singer",
            }
        ],
    )
    prepare(recipe(tmp_path, {"train": ["a.jsonl"]}, "alpaca"), "r")
    (example,) = read_jsonl(tmp_path / "out" / "examples" / "train.jsonl", Example)
    assert example.question == "Which names?"


def test_linking_shows_less_and_counts_what_it_lost(tmp_path):
    ddl = "CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT, town TEXT); " + " ".join(
        f"CREATE TABLE other{n} (id INT PRIMARY KEY, colour TEXT, weight REAL, note TEXT)" + ";" for n in range(6)
    )
    write(
        tmp_path / "a.jsonl",
        [
            {
                "question": "How old are the singers named Ann? Give the age.",
                "sql": "SELECT age FROM singer WHERE name = 'Ann'",
                "schema": ddl,
            }
        ],
    )
    report = prepare(recipe(tmp_path, {"train": ["a.jsonl"]}, linking={"tables": 1, "columns": 2}), "r")
    assert report["splits"]["train"]["schema_linking"] == {
        "table_recall": 1.0,
        "column_recall": 1.0,
        "columns_shown": round(3 / 28, 4),
    }
    (example,) = read_jsonl(tmp_path / "out" / "examples" / "train.jsonl", Example)
    assert example.schema == "CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT);"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": {}}, "files: say which files"),
        ({"files": {"train": ["none.jsonl"]}}, "none.jsonl: no such file"),
        ({"files": {"train": ["*.nothing"]}}, "no such files"),
        ({"columns": {"quetsion": "q"}}, "a row's parts are"),
        ({"split": {"train": 0.5, "val": 0.5}}, "split divides the rows of files.all"),
        ({"files": {"all": ["a.jsonl"]}, "split": {"train": 0.5, "val": 0.1}}, "that make 1"),
        ({"files": {"all": ["a.jsonl"]}, "split": {"train": 0.5, "val": 0.5}}, "1 databases cannot be divided into 2"),
        ({"decontaminate": {"against": ["x"], "ruels": []}}, "did you mean 'rules'"),
        ({"tokenizer": "nowhere"}, "has no tokenizer.json"),
        ({"formats": ["sft"]}, "formats is one of messages, alpaca"),
        ({"schema": "nowhere.sqlite"}, "nowhere.sqlite: no such"),
        ({"tables": "a.jsonl"}, "not valid JSON"),
        ({"linking": {"embedder": "nowhere"}}, "no such embedding model folder"),
    ],
)
def test_mistakes_in_a_recipe_are_one_line(tmp_path, change, message):
    write(tmp_path / "a.jsonl", rows(2))
    change = {key: str(tmp_path / value) if key == "tables" else value for key, value in change.items()}
    with pytest.raises(UserError) as caught:
        prepare({**recipe(tmp_path, {"train": ["a.jsonl"]}), **change}, "r")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_killed_on_two_processes_it_ends_with_the_same_bytes(tmp_path):
    table = [{**row, "question": f"{row['question']} {n}", "note": "x" * 3000} for n, row in enumerate(rows(10) * 150)]
    write(tmp_path / "a.json", table)

    def command(out):
        files = [
            "files.all=[a.json]",
            "split.train=0.8",
            "split.val=0.2",
            "split_by=random",
            f"folder={tmp_path}",
            "jobs=2",
        ]
        return [
            sys.executable,
            "-m",
            "text2sql.data",
            "recipes/data/rows.yaml",
            "files.train=null",
            "unit_rows=50",
            "tokenizer=null",
            *files,
            f"output={out}",
        ]

    recipe_file = tmp_path / "r.yaml"
    recipe_file.write_text((ROOT / "recipes/data/rows.yaml").read_text().replace("  train: []", "  all: []"))

    def run(out):
        return [
            part if part != "recipes/data/rows.yaml" else str(recipe_file)
            for part in command(out)
            if not part.startswith("files.train")
        ]

    whole, out = tmp_path / "whole", tmp_path / "out"
    subprocess.run(run(whole), cwd=ROOT, check=True, capture_output=True)
    with subprocess.Popen(run(out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list(out.glob(".parts-*/*/*.jsonl"))) < 4:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert finished_report(out) is None
    again = subprocess.run(run(out), cwd=ROOT, check=True, capture_output=True, text=True)
    assert "from an earlier run" in again.stderr
    names = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    for name in names:
        ours = (out / name).read_bytes().replace(str(out).encode(), str(whole).encode())
        if name.name != "data_preparation_report.json":
            assert ours == (whole / name).read_bytes(), name
    one, other = (json.loads((folder / "data_preparation_report.json").read_text()) for folder in (whole, out))
    assert {**one, "stamp": 0, "recipe": 0} == {**other, "stamp": 0, "recipe": 0}
