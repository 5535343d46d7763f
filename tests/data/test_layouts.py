"""Rows in the very formats of the data sets and projects that users come from: which are kept, which are not, and why."""

import json
from pathlib import Path

import pytest

from sqleval import execute
from support.tables import DDL, lines, make, music, recipe, write
from text2sql.data import building
from text2sql.data.prepare import prepare
from text2sql.errors import UserError
from text2sql.grpo import preflight
from text2sql.recipe import load_recipe
from text2sql.records import Example, read_jsonl

ROOT = Path(__file__).parents[2]
SQL = "SELECT name FROM singer WHERE age > 35"
TABLES = "CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT);"
HUB = (
    "I want you to act as a SQL terminal in front of an example database, you need only to return the sql command to me."
    'Below is an instruction that describes a task, Write a response that appropriately completes the request.\n"\n'
    "##Instruction:\nmusic contains tables such as singer. Table singer has columns such as id, name, age. id is the "
    "primary key.\n\n"
)


@pytest.fixture
def root(tmp_path):
    """A folder with the database ``music``."""
    return music(tmp_path / "databases")


ALPACA = {
    "schema as instruction": {"instruction": DDL, "input": "Who?", "output": SQL},
    "whole prompt": {"instruction": f"[SCHEMA]\n{DDL}\n[QUESTION]\nWho?", "input": "", "output": f"[ANSWER] {SQL}"},
    "tables as input": {"instruction": "Who?", "input": DDL, "output": f"```sql\n{SQL};\n```"},
    "made tables": {
        "instruction": "music contains tables such as singer.",
        "input": "Who?",
        "output": SQL,
        "table_creating": f"<sql>\n{TABLES}\n</sql>",
    },
}


@pytest.mark.parametrize("form", list(ALPACA))
def test_alpaca_rows_bring_their_schema_in_many_places(tmp_path, form):
    (example,), counts = make(tmp_path, "alpaca", [ALPACA[form]])
    assert (example.question, example.sql, example.schema) == ("Who?", SQL, TABLES)
    assert counts["rejected"] == {}


def test_an_instruction_that_names_a_task_leaves_the_schema_to_the_recipe(tmp_path, root):
    task = "Translate the question into SQL."
    table = [
        {"instruction": task, "input": "Who?", "output": SQL},
        {"instruction": "Who is old?", "input": "", "output": SQL},
        {"instruction": task, "input": "Who sings?", "output": "SELECT wings FROM singer"},
    ]
    found, counts = make(tmp_path, "alpaca", table, schema=str(root / "music" / "music.sqlite"))
    assert [e.question for e in found] == ["Who?", "Who is old?"]
    assert {e.schema for e in found} == {TABLES}
    assert counts["rejected"] == {"gold does not run (no_such_column)": 1}


@pytest.mark.parametrize("by", ["database_root", "tables"])
def test_rows_of_db_gpt_hub_are_known_by_their_db_id(tmp_path, root, by):
    row = {
        "db_id": "music",
        "instruction": HUB,
        "input": "###Input:\nWho is older than 35?\n\n###Response:",
        "output": SQL,
        "history": [],
    }
    table = [row, {**row, "db_id": "cinema"}]
    entry = {
        "db_id": "music",
        "table_names_original": ["singer"],
        "column_names_original": [[-1, "*"], [0, "id"], [0, "name"], [0, "age"]],
        "column_types": ["text", "number", "text", "number"],
        "primary_keys": [1],
        "foreign_keys": [],
    }
    (tmp_path / "tables.json").write_text(json.dumps([entry]))
    where = {"database_root": str(root)} if by == "database_root" else {"tables": str(tmp_path / "tables.json")}
    (example,), counts = make(tmp_path, "alpaca", table, **where)
    assert (example.question, example.db_id, example.sql) == ("Who is older than 35?", "music", SQL)
    assert example.schema.startswith("CREATE TABLE singer (id ")
    reason = "missing database" if by == "database_root" else "schema cannot be built"
    assert counts["rejected"] == {reason: 1}


def test_alpaca_is_divided_by_one_key(tmp_path):
    write(tmp_path / "a.json", [{**ALPACA["schema as instruction"], "input": f"Who? {n}"} for n in range(200)])
    given = [f"files.train=[{tmp_path / 'a.json'}]", f"output={tmp_path / 'out'}"]
    values = load_recipe(ROOT / "recipes/data/alpaca.yaml", given)
    assert values["split"] == {"train": 0.8, "val": 0.1, "test": 0.1}
    with pytest.raises(UserError, match="1 databases cannot be divided into 3"):
        prepare({**values, "split_by": "database"}, "alpaca.yaml")
    same = [
        {**row, "output": SQL.replace("35", str(n))}
        for n, row in enumerate(json.loads((tmp_path / "a.json").read_text()))
    ]
    write(tmp_path / "a.json", same)
    report = prepare(values, "alpaca.yaml")
    kept = {name: found["kept"] for name, found in report["splits"].items()}
    assert sum(kept.values()) == 200 and kept["train"] > 140 and min(kept.values()) > 8
    for name in kept:
        assert {e.split for e in read_jsonl(tmp_path / "out/examples" / f"{name}.jsonl", Example)} == {name}


def process(
    sql=SQL, kind="sql", think="<think>\nage above 35\n</think>\n", answer=("<answer>\n", "\n</answer>"), **more
):
    return {
        "query": f"谁？{sql}{kind}",
        "response": f"{think}{answer[0]}{sql}{answer[1]}",
        "type": kind,
        "schema": TABLES,
        **more,
    }


def test_process_rows_without_tags_or_of_unknown_type_are_left_out_with_a_reason(tmp_path):
    table = [
        process(),
        process(kind="SQL", think="<thinking>\nage above 35, as asked\n</thinking>\n", query="谁老？"),
        process(kind="反思数据", answer=("<answer>```sql\n", "\n```</answer>")),
        process("SELECT name FROM singer WHERE id IN (SELECT max(id) FROM singer)", "多步推理"),
        process(kind="banana"),
        process("请问您指的是哪位歌手？", "歧义澄清"),
        process(think=""),
        process(think="<think></think>"),
        process(answer=("", "")),
        process(answer=("<answer>", "")),
        process("SELECT wings FROM singer"),
        {"query": "谁？", "response": 3, "type": "sql"},
    ]
    found, counts = make(tmp_path, "process", table, answer_format="process")
    assert [e.kind for e in found] == ["sql", "sql", "", "多步推理"]
    assert counts["rejected"] == {
        "unknown type": 1,
        "type without a query": 1,
        "no thinking in tags": 2,
        "no answer in tags": 1,
        "broken tags": 1,
        "gold does not run (no_such_column)": 1,
        "wrong type": 1,
    }
    assert counts["process"]["types"] == {"sql": 2, "多步推理": 1}
    tags = {"complete": 4, "no thinking in tags": 2, "no answer in tags": 1, "broken tags": 1}
    assert counts["process"]["tags"] == tags
    assert counts["process"]["thinking_chars"]["max"] == len("age above 35, as asked")
    details = {row["detail"] for row in lines(tmp_path / "out" / "rejected.jsonl")}
    assert "a.json row 5: 'banana' is neither sql nor 多步推理" in details
    assert "broken tags 1" in (tmp_path / "out" / "data_preparation_report.html").read_text()


@pytest.mark.parametrize(("fill", "state"), [(True, "filled"), (False, "empty")])
def test_rows_for_grpo_always_have_their_database(tmp_path, fill, state):
    other = TABLES.replace("age INT", "age REAL")
    table = [
        process(),
        process("SELECT count(*) FROM singer WHERE name = 'Zoe'"),
        process(schema=other),
        process(schema=DDL, query="given rows"),
        process(schema=DDL.replace("Ann", "Eve"), query="other rows"),
        {**process(query="no schema"), "schema": ""},
    ]
    found, _ = make(
        tmp_path, "process", table, formats=["messages", "grpo"], fill_databases=fill, answer_format="process"
    )
    out = tmp_path / "out"
    states = [row.get("database") for row in lines(out / "examples" / "train.jsonl")]
    assert states == [state, state, state, "given", "given", None]
    asked = lines(out / "grpo_train.jsonl")
    assert len(asked) == 5 and len({e.db_id for e in found[:5]}) == 4
    for row in asked:
        database = out / "database" / row["db_id"] / f"{row['db_id']}.sqlite"
        counted = execute(database, "SELECT count(*) FROM singer").rows[0][0]
        assert counted == 2 if row["database"] == "given" else (counted > 0) is fill
    names = execute(out / "database" / found[0].db_id / f"{found[0].db_id}.sqlite", "SELECT name FROM singer").rows
    assert (("Zoe",) in names) is fill, "drawn values surround the literals of the golds"
    given = {"dataset": "mine_train_grpo", "dataset_dir": str(out), "database_root": str(out / "database")}
    preflight.check({**given, "answer_format": "process", "per_device_train_batch_size": 8}, Path("grpo.yaml"), 1, 0)
    first = prepare(
        recipe(tmp_path, {"train": ["a.json"]}, "process", formats=["messages", "grpo"], output=str(tmp_path / "b")),
        "r",
    )
    again = prepare(
        recipe(tmp_path, {"train": ["a.json"]}, "process", formats=["messages", "grpo"], output=str(tmp_path / "c")),
        "r",
    )
    assert first["data_hash"] == again["data_hash"]


def test_a_run_killed_while_databases_are_built_ends_with_the_same(tmp_path, monkeypatch):
    write(tmp_path / "a.json", [process(), process(schema=DDL, query="given rows")])
    values = recipe(
        tmp_path, {"all": ["a.json"]}, "process", formats=["grpo"], split={"train": 0.5, "val": 0.5}, split_by="random"
    )
    whole = prepare({**values, "output": str(tmp_path / "whole")}, "r")
    made = building.Fuzzer.instance

    def killed(*arguments):
        made(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(building.Fuzzer, "instance", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(values, "r")
    monkeypatch.undo()
    assert prepare(values, "r")["data_hash"] == whole["data_hash"]
    assert not list((tmp_path / "out").rglob("*.partial")) + list((tmp_path / "out").glob(".parts-*"))


def test_one_database_for_all_rows_goes_along_to_grpo(tmp_path, root):
    row = {**process(), "schema": ""}
    (example,), _ = make(tmp_path, "process", [row], schema=str(root / "music" / "music.sqlite"), formats=["grpo"])
    assert example.db_id == "music"
    assert execute(tmp_path / "out/database/music/music.sqlite", SQL).rows == [("Bo",)]


def test_tables_that_all_rows_share_give_one_database(tmp_path):
    (tmp_path / "music.sql").write_text(DDL)
    table = [{"instruction": f"Task {n}.", "input": f"Who? {n}", "output": SQL} for n in range(3)]
    found, _ = make(tmp_path, "alpaca", table, schema=str(tmp_path / "music.sql"), formats=["grpo"])
    (name,) = {example.db_id for example in found}
    assert execute(tmp_path / "out" / "database" / name / f"{name}.sqlite", SQL).rows == [("Bo",)]


def test_rows_for_grpo_leave_out_what_is_not_under_the_database_root(tmp_path, root):
    table = [process(db_id="music"), process("SELECT id FROM singer", db_id="elsewhere")]
    _, counts = make(tmp_path, "process", table, formats=["grpo"], database_root=str(root))
    assert [row["db_id"] for row in lines(tmp_path / "out" / "grpo_train.jsonl")] == ["music"]
    assert (counts["kept"], counts["without_database"]) == (2, 1)


@pytest.mark.parametrize("name", ["a.snappy.parquet", "a.jsonl"])
def test_synthetic_text_to_sql_runs_on_its_own_tables_and_rows(tmp_path, name):
    row = {"id": 1, "domain": "music", "sql_complexity": "basic SQL", "sql_task_type": "analytics and reporting"}
    context = "CREATE TABLE singer (id INT, name VARCHAR(50), age INT); INSERT INTO singer (id, name, age) VALUES (1, 'Ann', 40);"
    row |= {
        "sql_prompt": "Who is older than 35?",
        "sql_context": context,
        "sql": SQL + ";",
        "sql_explanation": "Filters.",
    }
    table = [
        row,
        {**row, "id": 2, "sql_prompt": "Add Bo.", "sql": "INSERT INTO singer VALUES (2, 'Bo', 1)"},
        {**row, "id": 3, "sql_prompt": "When?", "sql": "SELECT EXTRACT(YEAR FROM age) FROM singer"},
        {**row, "id": 4, "sql_prompt": "What?", "sql_context": "CREATE TABLE (", "sql": "SELECT 1"},
    ]
    write(tmp_path / name, table)
    values = recipe(tmp_path, {"train": [name]}, "synthetic_text_to_sql", formats=["messages", "grpo"])
    found = prepare(values, "r")["splits"]["train"]
    assert (found["kept"], sum(found["rejected"].values())) == (1, 3)
    assert found["rejected"]["gold does not run (forbidden)"] == found["rejected"]["schema cannot be built"] == 1
    (grpo,) = lines(tmp_path / "out" / "grpo_train.jsonl")
    database = tmp_path / "out" / "database" / grpo["db_id"] / f"{grpo['db_id']}.sqlite"
    assert (grpo["database"], execute(database, grpo["sql"]).rows) == ("given", [("Ann",)])
