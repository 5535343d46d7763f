"""Scoring on small SQLite databases with known answers."""

import json
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from text2sql import ledger
from text2sql.errors import UserError
from text2sql.evaluate.answers import EvaluateOptions
from text2sql.evaluate.score import evaluate, read_report, wilson
from text2sql.predictions import agree
from text2sql.recipe import options_from
from text2sql.records import Example, Prediction, write_jsonl

GOLD = [
    ("q0", "SELECT name FROM shop WHERE city = 'Lyon'", "easy"),
    ("q1", "SELECT count(*) FROM shop", ""),
    ("q2", "SELECT city FROM shop GROUP BY city ORDER BY count(*) DESC LIMIT 1", "hard"),
    ("q3", "SELECT name FROM shop WHERE id > (SELECT avg(id) FROM shop)", "extra"),
]


@pytest.fixture
def options(tmp_path):
    folder = tmp_path / "database" / "shops"
    folder.mkdir(parents=True)
    for name, city in (("shops", "Lyon"), ("shops_1", "Nice")):
        with sqlite3.connect(folder / f"{name}.sqlite") as db:
            db.execute("CREATE TABLE shop (id INTEGER PRIMARY KEY, name TEXT, city TEXT)")
            rows = [(1, "A", "Lyon"), (2, "B", "Nice"), (3, "C", city), (4, "D", "Paris")]
            db.executemany("INSERT INTO shop VALUES (?, ?, ?)", rows)
    examples = [
        Example(key, "shops", f"question {key}", "", sql, difficulty=level, split="test") for key, sql, level in GOLD
    ]
    write_jsonl(tmp_path / "examples.jsonl", examples)
    predict(
        tmp_path / "p.jsonl",
        ["SELECT name FROM shop WHERE city = 'Lyon'", "SELECT count(id) FROM shop", "SELECT 'Lyon'", "SELEC"],
    )
    return EvaluateOptions(
        examples=tmp_path / "examples.jsonl",
        predictions=tmp_path / "p.jsonl",
        database_root=tmp_path / "database",
        output_dir=tmp_path / "out",
        jobs=0,
        ledger=tmp_path / "l.jsonl",
    )


def predict(path, *samples):
    write_jsonl(
        path,
        [Prediction(f"q{i}", "shops", sql, sql, s) for s, sqls in enumerate(samples) for i, sql in enumerate(sqls)],
    )


def test_counts_by_hardness_and_cause(options):
    report = evaluate(options)
    assert (report.overall.n, report.overall.correct, report.overall.accuracy) == (4, 3, 0.75)
    assert list(report.by_difficulty) == ["easy", "hard", "extra"]
    assert (report.by_difficulty["easy"].n, report.by_difficulty["extra"].correct) == (2, 0)
    assert report.outcomes == {"match": 3, "error": 1}
    assert report.error_classes == {"syntax": 1}
    assert report.split == "test"
    assert read_report(options.output_dir / "report.json") == report
    rows = [json.loads(line) for line in (options.output_dir / "verdicts.jsonl").read_text().splitlines()]
    assert [row["correct"] for row in rows] == [True, True, True, False]
    assert rows[3]["error_class"] == "syntax"
    assert not options.ledger.exists()


def test_the_suite_unmasks_a_lucky_answer(options):
    report = evaluate(replace(options, protocol="spider-test-suite"))
    assert report.overall.correct == 2
    assert report.outcomes == {"match": 2, "mismatch": 1, "error": 1}
    assert report.protocol == "spider-test-suite"


def test_samples_give_mean_and_oracle(options):
    predict(options.predictions, ["SELECT 1"] * 4, [sql for _, sql, _ in GOLD])
    report = evaluate(replace(options, experiment="toy.x", profile="tiny"))
    assert report.samples == 2
    assert report.overall.accuracy == 0.5
    assert report.oracle == 1.0
    assert ledger.read(options.ledger)[0].metrics["oracle_accuracy"] == 1.0


def test_a_ledger_row_is_added_when_asked_for(options):
    asked = replace(options, experiment="toy.base", profile="tiny", seed=7, decoding="greedy")
    evaluate(asked)
    row = ledger.read(options.ledger)[0]
    assert (row.experiment, row.seed, row.n, row.split, row.protocol, row.decoding) == (
        "toy.base",
        7,
        4,
        "test",
        "spider-exec",
        "greedy",
    )
    assert row.metrics["execution_accuracy"] == 0.75
    assert row.metrics["execution_accuracy_easy"] == 1.0
    assert row.metrics["n_easy"] == 2
    assert row.metrics["executable"] == 0.75
    for wrong, words in (({"profile": ""}, "needs a profile"), ({"experiment": "Base"}, "dotted lower case")):
        with pytest.raises(UserError, match=words):
            options_from(EvaluateOptions, vars(asked) | wrong, "recipe.yaml")


def test_broken_gold_counts_as_wrong_and_is_named(options, caplog):
    write_jsonl(options.examples, [Example("q0", "shops", "?", "", "SELECT nothing FROM shop")])
    report = evaluate(options)
    assert report.outcomes == {"gold_error": 1}
    assert report.overall.correct == 0
    assert "gold SQL of 1 questions fails (first: q0)" in caplog.text


def test_limit_scores_the_first_examples(options):
    predict(options.predictions, [sql for _, sql, _ in GOLD[:2]])
    assert evaluate(replace(options, limit=2)).overall.n == 2


def test_mistakes_are_one_line(options, tmp_path):
    def refused(words, **changes):
        with pytest.raises(UserError, match=words):
            evaluate(replace(options, **changes))

    refused("no such predictions", predictions=tmp_path / "absent.jsonl")
    refused("no such file", examples=tmp_path / "absent.jsonl")
    refused("no such folder of databases", database_root=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    refused("no database for shops", database_root=tmp_path / "empty")
    refused("belong to the spider protocols", protocol="bird-ex", plug_value=True)
    predict(options.predictions, ["SELECT 1"] * 3)
    refused("1 of 4 questions have no prediction")
    write_jsonl(options.predictions, [Prediction("q0", "shops", "SELECT 1")] * 2)
    refused("has sample 0 twice")
    predict(options.predictions, ["SELECT 1"] * 4, ["SELECT 1"] * 2)
    refused("differ in their number of samples")
    write_jsonl(options.predictions, [Prediction(f"q{i}", "other", "SELECT 1") for i in range(4)])
    refused("is about shops, its prediction about other")
    write_jsonl(options.examples, [])
    refused("no examples in it")
    assert list(options.output_dir.iterdir()) == []
    with pytest.raises(NotADirectoryError):  # run_command names the path and says to correct it
        evaluate(replace(options, output_dir=options.examples / "x"))
    with pytest.raises(UserError, match="no such report"):
        read_report(tmp_path / "report.json")
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(UserError, match="not a report"):
        read_report(tmp_path / "report.json")


def test_the_command_prints_a_table(options, tmp_path):
    recipe = tmp_path / "evaluate.yaml"
    keys = ("examples", "predictions", "database_root", "output_dir")
    recipe.write_text(json.dumps({key: str(getattr(options, key)) for key in keys}))
    command = [sys.executable, "-m", "text2sql.evaluate", "score", str(recipe)]
    done = subprocess.run([*command, "jobs=2"], capture_output=True, text=True, check=True)
    assert "75.0%" in done.stdout
    assert "30.1% - 95.4%" in done.stdout
    assert "syntax 1" in done.stdout
    wrong = subprocess.run([*command, f"output_dir={recipe}/x"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert wrong.stderr.startswith(f"error: {recipe}/x: ")
    wrong = subprocess.run([*command, "protcol=x"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr) == (
        2,
        f"error: {recipe}: unknown key 'protcol'; did you mean 'protocol'?\n",
    )


def test_agreement_of_two_files(options, tmp_path):
    predict(tmp_path / "a.jsonl", ["SELECT 1", "SELECT 2"], ["SELECT 3", "SELECT 4"])
    predict(tmp_path / "b.jsonl", ["SELECT 1", "SELECT 2"], ["SELECT 3", "SELECT 5"])
    assert agree(tmp_path / "a.jsonl", tmp_path / "b.jsonl") == (4, ["q1#1"])
    with pytest.raises(UserError, match="do not answer the same questions"):
        agree(tmp_path / "a.jsonl", options.predictions)
    command = [sys.executable, "-m", "text2sql.evaluate", "agree", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    done = subprocess.run([*command, "--at-least", "0.98"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "3 of 4 completions are equal (75.00%)" in done.stdout
    assert subprocess.run([*command, "--at-least", "0.7"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("correct", "n", "bounds"), [(0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (50, 100, (0.4038, 0.5962))]
)
def test_wilson_interval(correct, n, bounds):
    """Reference values from the closed form in Newcombe (1998), table I's method 3."""
    assert tuple(round(bound, 4) for bound in wilson(correct, n)) == bounds


def test_wilson_interval_holds_its_share_in_spite_of_rounding() -> None:
    for n in range(1, 120):
        for correct in range(n + 1):
            low, high = wilson(correct, n)
            assert 0 <= low <= correct / n <= high <= 1


def test_once_scores_the_same_predictions_once(options, caplog):
    once = replace(options, once=True, experiment="toy.base", profile="tiny")
    first = evaluate(once)
    assert evaluate(once) == first
    assert len(ledger.read(options.ledger)) == 1
    evaluate(replace(once, seed=8))
    assert len(ledger.read(options.ledger)) == 2, "another seed is another measurement"
    lines = options.predictions.read_text(encoding="utf-8").splitlines(keepends=True)
    options.predictions.write_text("".join(lines[::-1]), encoding="utf-8")
    evaluate(once)
    assert len(ledger.read(options.ledger)) == 3, "the predictions changed"
    (options.output_dir / "report.json").unlink()
    assert evaluate(once).overall.n == first.overall.n, "a report that was removed is made again"
