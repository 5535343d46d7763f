"""From rows to training files: sources, splits without overlap, formats, and the same bytes after kill -9."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from support.tables import DDL, lines, recipe, rows, write
from text2sql.data.prepare import finished_report, prepare
from text2sql.errors import UserError
from text2sql.prompts import parse_completion, read_answer
from text2sql.records import Example, TracedExample, read_jsonl

ROOT = Path(__file__).parents[2]
GOOD = rows(1)[0]


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
    same = {**rows(5)[4], "rejected": rows(5)[4]["sql"].lower() + ";"}
    table = [{**row, "rejected": "SELECT id FROM singer"} for row in rows(3)] + [rows(4)[3], same]
    write(tmp_path / "a.jsonl", table)
    values = recipe(
        tmp_path, {"train": ["a.jsonl"]}, formats=["messages", "alpaca", "ranking", "grpo"], answer_format="process"
    )
    report = prepare(values, "r")
    out = tmp_path / "out"
    assert report["files"]["ranking_train.jsonl"]["rows"] == 3
    assert report["splits"]["train"]["without_worse_answer"] == 2
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
    assert "Hardness" in page and "Length of prompts in characters" in page


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
        more = {"database_root": str(tmp_path / "db")} if source == "bird" else {}
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


def test_every_question_of_a_benchmark_keeps_an_id_of_its_own(tmp_path, caplog):
    row = {"question": "Which names?", "SQL": "SELECT name FROM singer", "db_id": "music", "schema": DDL}
    ids = [17, 17, "17", 18, "17-2", None]
    write(tmp_path / "a.jsonl", [{**row, "question_id": name} for name in ids])
    recipe_ = recipe(tmp_path, {"dev": ["a.jsonl"]}, "bird", columns={"schema": "schema"}, unit_rows=2)
    assert prepare(recipe_, "r")["splits"]["dev"]["kept"] == 6
    found = [e.question_id for e in read_jsonl(tmp_path / "out" / "examples" / "dev.jsonl", Example)]
    assert found == ["dev-17", "dev-17-2", "dev-17-3", "dev-18", "dev-17-2-2", "dev-00006"]
    assert "row 2: question_id 17 was there before; this one is 17-2" in caplog.text


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
        (
            {"files": {"train": ["a.jsonl"], "dev": ["a.jsonl"]}, "split": {"train": 0.5, "val": 0.5}},
            "split divides the rows of one entry of files, not of train, dev",
        ),
        ({"files": {"all": ["a.jsonl"]}, "split": {"train": 0.5, "val": 0.1}}, "that make 1"),
        (
            {"files": {"all": ["a.jsonl"]}, "split": {"train": 1.5, "val": 0.1}},
            "split.train should be less than 1, not 1.5",
        ),
        ({"files": {"all": ["a.jsonl"]}, "split": {"train": 0.5, "val": 0.5}}, "1 databases cannot be divided into 2"),
        ({"decontaminate": {"against": ["x"], "ruels": []}}, "did you mean 'rules'"),
        (
            {"decontaminate": {"against": ["x"], "rules": ["sqll"]}},
            "decontaminate.rules.0 is one of question, sql, near or",
        ),
        ({"decontaminate": {"against": ["x"], "near": 0.2}}, "near should be greater than or equal to 0.5, not 0.2"),
        ({"databases": "x"}, "unknown key 'databases'; it is called 'database_root' now"),
        ({"answer": "plain"}, "unknown key 'answer'; it is called 'answer_format' now"),
        ({"files": {"a-b": ["a.jsonl"]}}, "files.a-b: a split's name has letters"),
        ({"tokenizer": "nowhere"}, "has no tokenizer.json"),
        ({"formats": ["ranking"]}, "ranking needs rows with a worse query"),
        ({"formats": ["sft"]}, "formats.0 is one of messages, alpaca"),
        ({"schema": "nowhere.sqlite"}, "nowhere.sqlite: no such"),
        ({"tables": "a.jsonl"}, "not valid JSON"),
        ({"linking": {"embedder": "nowhere"}}, "no such embedding model folder"),
        ({"jobs": -2}, "jobs should be greater than or equal to 0, not -2"),
        ({"max_prompt_chars": 0}, "max_prompt_chars should be greater than or equal to 1, not 0"),
        ({"files": {"train": []}}, "files: say which files"),
        ({"files": {"train": [["a.jsonl"]]}}, "files.train.0 should be string, not ['a.jsonl']"),
        ({"files": {"train": ["."]}}, "a folder, not a file"),
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
        workers = psutil.Process(process.pid).children()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(workers) >= 2 and not psutil.wait_procs(workers, timeout=10)[1]
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
    assert {**one, "made_of": 0} == {**other, "made_of": 0}


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["plain", "reasoning", "process"])
@pytest.mark.parametrize("thinking", [True, False])
def test_training_bytes_are_inference_bytes_in_every_format(tmp_path, answer, thinking):
    from support.tiny_model import make_tokenizer
    from test_prompts import factory_encoding

    if answer == "process" and not thinking:
        pytest.skip("the process format thinks, so its recipes say enable_thinking: true")
    write(tmp_path / "a.jsonl", rows(2))
    prepare(recipe(tmp_path, {"train": ["a.jsonl"]}, answer_format=answer), "r")
    tokenizer = make_tokenizer()
    for row in lines(tmp_path / "out" / "sft_train.jsonl"):
        messages = row["messages"]
        source, target = factory_encoding(tokenizer, messages, thinking)
        asked = tokenizer.apply_chat_template(messages[:2], add_generation_prompt=True, enable_thinking=thinking)
        assert source == asked
        empty = "" if answer == "process" or not thinking else "<think>\n\n</think>\n\n"
        assert tokenizer.decode(target) == empty + messages[2]["content"] + "<|im_end|>\n"
