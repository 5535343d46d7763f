"""Data preparation: what comes out, that it resumes and knows when it is done, and one line for every bad input."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sqleval
from support.tables import lines, recipe, rows, training_messages, write
from text2sql.artifacts import digest, digest_of, only_one
from text2sql.data import toy
from text2sql.data.prepare import DATA_VERSION, finished_report, prepare
from text2sql.errors import UserError
from text2sql.recipe import load_recipe
from text2sql.records import Example, read_jsonl
from text2sql.schema import open_readonly, read_schema, render_ddl

ROOT = Path(__file__).parents[2]


def examples(output, split):
    return list(read_jsonl(output / "examples" / f"{split}.jsonl", Example))


@pytest.fixture
def toy_values(tmp_path):
    """The shipped recipe with few questions and six of the databases."""
    described = tmp_path / "described"
    described.mkdir()
    for name in (
        "corner_shop",
        "film_archive",
        "company_staff",
        "weather_stations",
        "zoo_animals",
        "space_missions",
    ):
        (described / f"{name}.yaml").write_bytes((ROOT / "data" / "toy" / f"{name}.yaml").read_bytes())
    counts = [f"questions.{split}.count=6" for split in ("train", "val", "test", "test_heldout")]
    places = [
        f"output={tmp_path / 'out'}",
        f"toy_databases={described}",
        "suite=2",
        "suites=null",  # tests/data/test_suites.py builds some
        f"tokenizer={ROOT / 'models/tiny-base'}",
    ]
    return load_recipe(ROOT / "recipes" / "data" / "toy.yaml", [*counts, *places])


def test_toy_writes_examples_databases_and_training_files(toy_values, tmp_path):
    report = prepare(toy_values, "toy.yaml")
    out = tmp_path / "out"
    assert {split: found["kept"] for split, found in report["splits"].items()} == {
        "train": 18,
        "val": 6,
        "test": 12,
        "test_heldout": 12,
    }
    train = examples(out, "train")
    assert {example.db_id for example in train} == {"corner_shop", "film_archive", "company_staff"}
    assert {example.db_id for example in examples(out, "test")} == {"zoo_animals", "space_missions"}
    for example in (e for split in report["splits"] for e in examples(out, split)):
        connection = open_readonly(out / "database" / example.db_id / f"{example.db_id}.sqlite")
        assert example.schema == render_ddl(read_schema(connection))
        connection.execute(example.sql).fetchall()
        connection.close()
    taught = lines(out / "sft_train.jsonl")
    expected = [{"messages": training_messages(example)} for example in train]
    assert taught != expected, "the training file should be mixed"
    assert sorted(map(str, taught)) == sorted(map(str, expected))
    assert lines(out / "sft_val.jsonl") == [{"messages": training_messages(e)} for e in examples(out, "val")]
    assert not (out / "sft_test.jsonl").exists()
    assert not list(out.glob("**/*.partial")) + list(out.glob(".parts*"))
    page = (out / "data_preparation_report.html").read_text()
    longest = report["splits"]["train"]["tokens"]["prompt"]["max"]
    assert 50 < longest < report["splits"]["train"]["prompt_chars"]["max"]
    assert "Length of prompts in tokens" in page and f"and {longest} tokens" in page and "<p>None.</p>" in page


def test_the_synth_command_writes_the_very_questions_of_a_toy_database(toy_values, tmp_path):
    prepare(toy_values, "toy.yaml")
    database = tmp_path / "out" / "database" / "zoo_animals" / "zoo_animals.sqlite"
    for split, register in (("test", "natural"), ("test_heldout", "heldout")):
        own = tmp_path / f"{register}.jsonl"
        options = ["--patterns", "core", "-n", "6", "--register", register, "--out", str(own)]
        subprocess.run(
            [sys.executable, "-m", "text2sql.synth", "--db", str(database), *options], check=True, capture_output=True
        )
        ours = [e for e in examples(tmp_path / "out", split) if e.db_id == "zoo_animals"]
        assert [{**row, "split": split} for row in lines(own)] == [
            {**example.columns, "reasoning": "", "kind": ""} for example in ours
        ]


def test_toy_suites_differ_and_tables_json_describes_every_database(toy_values, tmp_path):
    prepare(toy_values, "toy.yaml")
    out = tmp_path / "out"
    tables = {entry["db_id"]: entry for entry in json.loads((out / "tables.json").read_text())}
    assert len(tables) == 6
    for db_id, entry in tables.items():
        instances = sorted((out / "database" / db_id).glob("*.sqlite"))
        assert [path.stem for path in instances] == [db_id, f"{db_id}_1", f"{db_id}_2"]
        assert len({path.read_bytes() for path in instances}) == 3
        schemas = {render_ddl(read_schema(open_readonly(path))) for path in instances}
        assert len(schemas) == 1
        assert len(entry["column_names"]) == len(entry["column_names_original"]) == len(entry["column_types"])
        assert [child[0] for child in entry["column_names"][:1]] == [-1]


def test_second_run_does_nothing_and_a_damaged_or_changed_one_starts_anew(toy_values, tmp_path):
    first = prepare(toy_values, "toy.yaml")
    out = tmp_path / "out"
    before = (out / "sft_train.jsonl").stat().st_mtime_ns
    assert prepare(toy_values, "toy.yaml") == first
    assert (out / "sft_train.jsonl").stat().st_mtime_ns == before
    assert finished_report(out)["files"]["examples/train.jsonl"]["data_hash"] == digest(out / "examples/train.jsonl")
    whole = (out / "sft_train.jsonl").read_bytes()
    (out / "sft_train.jsonl").write_bytes(whole[:-40])
    assert finished_report(out) is None
    again = prepare(toy_values, "toy.yaml")
    assert (out / "sft_train.jsonl").read_bytes() == whole
    assert again["data_hash"] == first["data_hash"]
    changed = prepare({**toy_values, "seed": 7}, "toy.yaml")
    assert changed["data_hash"] != first["data_hash"]


def test_two_processes_do_not_prepare_the_same_folder(toy_values, tmp_path):
    with only_one(tmp_path / "out"), pytest.raises(UserError, match="another process is at work there"):
        prepare(toy_values, "toy.yaml")


def test_killed_run_keeps_the_parts_it_made(toy_values, tmp_path, monkeypatch):
    made = []
    generate = toy.generate

    def counted(database, db_id, *rest, **options):
        made.append((db_id, options["register"]))
        return generate(database, db_id, *rest, **options)

    def killed(database, db_id, *rest, **options):
        if len(made) == 4:
            raise KeyboardInterrupt
        return counted(database, db_id, *rest, **options)

    monkeypatch.setattr(toy, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(toy_values, "toy.yaml")
    assert finished_report(tmp_path / "out") is None
    monkeypatch.setattr(toy, "generate", counted)
    prepare(toy_values, "toy.yaml")
    assert len(made) == len(set(made)) == 3 + 1 + 2 + 2


def test_killed_process_leaves_nothing_trusted_and_its_second_run_gives_the_same(tmp_path):
    def command(out):
        return [sys.executable, "-m", "text2sql.data", "recipes/data/toy.yaml", f"output={out}", "suite=1"]

    whole, out = tmp_path / "whole", tmp_path / "out"
    subprocess.run(command(whole), cwd=ROOT, check=True, capture_output=True)
    with subprocess.Popen(command(out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list(out.glob(".parts-*/*/*.jsonl"))) < 3:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert finished_report(out) is None
    again = subprocess.run(command(out), cwd=ROOT, check=True, capture_output=True, text=True)
    assert "from an earlier run" in again.stderr
    assert finished_report(out)["data_hash"] == finished_report(whole)["data_hash"]


PREPARED = (2, "0.1.0", "bdf0d3a2b1ef2fb4")


def test_the_data_version_is_raised_when_the_same_recipe_gives_other_rows(toy_values, tmp_path):
    """Every format and filter once; databases are left out, because SQLite writes its own version into them."""
    toy_report = prepare(toy_values, "toy.yaml")
    (tmp_path / "dev.jsonl").write_text(json.dumps({**rows(1)[0], "db_id": "music"}))
    write(tmp_path / "a.jsonl", [{**row, "rejected": "SELECT id FROM singer"} for row in [*rows(9), *rows(2)]])
    mine = recipe(
        tmp_path,
        {"all": ["a.jsonl"]},
        output=str(tmp_path / "mine"),
        formats=["messages", "alpaca", "ranking", "grpo"],
        answer_format="process",
        schema_style="ddl_values",
        linking={"tables": 1, "columns": 2},
        decontaminate={"against": [str(tmp_path / "dev.jsonl")], "rules": ["question"]},
        split={"train": 0.6, "val": 0.4},
        split_by="random",
    )
    reports = (toy_report, prepare(mine, "r"))
    found = digest_of(
        [
            {name: entry["data_hash"] for name, entry in report["files"].items() if not name.endswith(".sqlite")}
            for report in reports
        ]
    )
    assert (DATA_VERSION, sqleval.__version__, found) == PREPARED, (
        "prepared data changed: raise DATA_VERSION in text2sql/data/prepare.py (or the version of sqleval, where its "
        "hardness or sandbox changed), so that data prepared before are prepared again; then record the new hash here"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "spyder"}, "source is one of"),
        ({"wrold": "x"}, "unknown key 'wrold'"),
        ({"toy_databases": "nowhere"}, "nowhere: no such folder"),
        ({"world": "x"}, "unknown key 'world'; it is called 'toy_databases' now"),
        ({"questions": {"train": {"databases": "test", "count": 5}}}, "held out and may not be trained on"),
        ({"questions": {"train": {"databases": "train"}}}, "missing questions.train.count"),
        ({"questions": {"train": 5}}, "questions.train should be an object, not 5"),
        (
            {"questions": {"train": {"databases": "train", "count": 0}}},
            "questions.train.count should be greater than or equal to 1, not 0",
        ),
        ({"output": __file__}, "cannot write there"),
        (
            {"questions": {"train": {"databases": "all", "count": 5}}},
            "questions.train.databases is one of train, val or test, not 'all'",
        ),
    ],
)
def test_mistakes_in_a_toy_recipe_are_one_line(toy_values, change, message):
    with pytest.raises(UserError) as caught:
        prepare({**toy_values, **change}, "toy.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_llamafactory_knows_the_data_sets(toy_values, tmp_path):
    from llamafactory.data.parser import get_dataset_list

    prepare(toy_values, "toy.yaml")
    for folder in (ROOT / "data", tmp_path / "out"):
        (found,) = get_dataset_list(["toy_train"], str(folder))
        assert (found.formatting, found.messages, found.role_tag, found.content_tag) == (
            "sharegpt",
            "messages",
            "role",
            "content",
        )
