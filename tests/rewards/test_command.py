"""The commands list, score and check, run as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.adversarial import load, make_bakery
from text2sql.records import write_jsonl

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, cwd=ROOT):
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'test-suite-sql-eval'}"}
    command = [sys.executable, "-m", "text2sql.rewards", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A prepared folder with databases, examples and completions."""
    folder = tmp_path_factory.mktemp("prepared")
    honest, tricks = load(make_bakery(folder / "database"))
    write_jsonl(folder / "examples" / "test.jsonl", [answers["plain"].example for answers in honest.values()])
    rows = [
        {"question_id": t.sample.example.question_id, "db_id": "bakery", "completion": t.sample.completion}
        for t in tricks[:20]
    ]
    rows += [{"question_id": q, "db_id": "bakery", "text": a["plain"].completion} for q, a in honest.items()]
    write_jsonl(folder / "completions.jsonl", rows)
    row = {"completion": "SELECT 1", "db_id": "bakery", "sql": "SELECT 1"}
    write_jsonl(folder / "bad.jsonl", [row, row | {"schema": 3}])
    (folder / "torn.jsonl").write_bytes('{"completion": "题'.encode()[:-1])
    return folder


def test_list_documents_every_reward():
    done = run("list")
    assert done.returncode == 0, done.stderr
    for name in (
        "soft_format",
        "sql_complexity",
        "execution_partial",
        "self_assessment",
        "schema_linking",
        "reward_model",
    ):
        assert name in done.stdout
    assert "exp(-0.5 ln(ratio)^2)" in done.stdout
    assert "(not documented)" not in done.stdout
    one = run("list", "length")
    assert "Soft overlong penalty" in one.stdout
    assert "soft_format" not in one.stdout


def test_score_writes_a_line_a_completion(dataset, tmp_path):
    out = tmp_path / "scored.jsonl"
    done = run(
        "score",
        "--rewards",
        "execution,length",
        "--input",
        dataset / "completions.jsonl",
        "--examples",
        dataset,
        "--output",
        out,
        "--weights",
        "{execution: 2}",
        "--jobs",
        "1",
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 30
    assert [row["reward"] for row in rows[-10:]] == [2.0] * 10
    assert rows[0]["rewards"] == {"execution": 0.1, "length": 0.0}
    assert rows[-1]["components"]["execution"] == {**rows[-1]["components"]["execution"], "matched": 1.0, "hollow": 0.0}


def test_check_passes_good_golds_and_names_bad_ones(dataset, tmp_path):
    done = run("check", "--dataset", dataset, "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 of 10 gold answers earn the full reward" in done.stdout
    good = (dataset / "examples" / "test.jsonl").read_text()
    bad = json.dumps(
        {"question_id": "typo", "db_id": "bakery", "question": "?", "schema": "", "sql": "SELECT nmae FROM customers"}
    )
    (tmp_path / "mixed.jsonl").write_text(good + bad + "\n")
    out = tmp_path / "short.jsonl"
    done = run(
        "check",
        "--dataset",
        tmp_path / "mixed.jsonl",
        "--database-root",
        dataset / "database",
        "--output",
        out,
        "--jobs",
        "1",
    )
    assert done.returncode == 1
    assert "10 of 11 gold answers" in done.stdout
    assert {json.loads(line)["question_id"] for line in out.read_text().splitlines()} == {"typo"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("score", "--rewards", "exec", "--input", "{d}/completions.jsonl", "--examples", "{d}"),
            "unknown reward 'exec'",
        ),
        (("score", "--rewards", "execution", "--input", "{d}/none.jsonl"), "no such file of completions"),
        (("score", "--rewards", "execution", "--input", "{d}/completions.jsonl"), "completions.jsonl:1: no gold SQL"),
        (
            (
                "score",
                "--rewards",
                "length",
                "--input",
                "{d}/completions.jsonl",
                "--examples",
                "{d}",
                "--params",
                "[1]",
            ),
            "--params: expected a mapping",
        ),
        (("check", "--dataset", "no_such_set"), "no_such_set: no examples"),
        (("check", "--dataset", "{d}/examples/test.jsonl", "--database-root", "{d}/nowhere"), "no such folder"),
        (("check", "--dataset", "{d}", "--databases", "{d}/database"), "--databases is called --database-root now"),
        (
            ("score", "--rewards", "length", "--input", "{d}/completions.jsonl", "--databases", "{d}/database"),
            "--databases is called --database-root now",
        ),
        (("score", "--rewards", "length", "--input", "{d}/bad.jsonl"), "bad.jsonl:2: schema should be string, not 3"),
        (("score", "--rewards", "length", "--input", "{d}/torn.jsonl"), "torn.jsonl:1: "),
    ],
)
def test_mistakes_end_in_one_line(dataset, arguments, message):
    done = run(*(a.replace("{d}", str(dataset)) for a in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
