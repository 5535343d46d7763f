"""The ledger takes valid rows only, and selects what may be averaged."""

import json
import multiprocessing
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from pydantic import ValidationError

from text2sql import ledger
from text2sql.errors import UserError, first_complaint

ROW = ledger.Row(
    experiment="toy.base",
    profile="tiny",
    seed=1,
    split="test",
    n=100,
    protocol="spider-test-suite",
    decoding="greedy",
    metrics={"execution_accuracy": 0.5},
    command="python -m x",
    git="abc",
    data_hash="0f",
    machine="2 cores",
    seconds=1.0,
)


def test_rows_of_a_whole_experiment_are_published_once(tmp_path):
    measured, target = tmp_path / "measured.jsonl", tmp_path / "ledger.jsonl"
    rows = [ROW, replace(ROW, seed=2), replace(ROW, experiment="toy.other")]
    for row in rows:
        ledger.append(measured, row)
    ledger.append(target, ROW)
    assert ledger.publish(measured, target, "toy.base") == 1
    assert ledger.publish(measured, target, "toy.base") == 0
    assert ledger.read(target) == rows[:2]
    with pytest.raises(UserError, match=r"no row of toy\.none"):
        ledger.publish(measured, target, "toy.none")


def test_rows_come_back(tmp_path):
    path = tmp_path / "results" / "ledger.jsonl"
    ledger.append(path, ROW)
    ledger.append(path, replace(ROW, seed=2, metrics={"ratio": 2, "execution_accuracy": 1.0}))
    assert ledger.read(path) == [ROW, replace(ROW, seed=2, metrics={"ratio": 2, "execution_accuracy": 1.0})]
    assert ledger.read(tmp_path / "none.jsonl") == []


def test_a_torn_line_is_closed_and_named(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps(asdict(ROW))[:30])
    ledger.append(path, ROW)
    assert len(path.read_text().splitlines()) == 2
    with pytest.raises(UserError, match=r"ledger.jsonl:1: not a ledger row"):
        ledger.read(path)


def _append_many(path, seed):
    for _ in range(20):
        ledger.append(path, replace(ROW, seed=seed))


def test_processes_append_together(tmp_path):
    path = tmp_path / "ledger.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_many, args=(path, seed)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(row.seed for row in ledger.read(path)) == sorted([*range(4)] * 20)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"experiment": "Toy Base"}, "dotted lower case"),
        ({"experiment": "base"}, "dotted lower case"),
        ({"n": 0}, r"n should be greater than 0, not 0"),
        ({"n": "5"}, "n should be integer, not '5'"),
        ({"seed": True}, "seed should be integer, not True"),
        ({"profile": ""}, "profile should"),
        ({"metrics": {"ratio": True}}, "metrics.ratio should be number, not True"),
        ({"metrics": {}}, "metrics should .*at least 1 item"),
        ({"metrics": {"execution_accuracy": 61.2}}, "fraction from 0 to 1"),
        ({"metrics": {"ratio": float("nan")}}, "metrics.ratio should be a finite number, not nan"),
        ({"metrics": {"ratio": "2"}}, "metrics.ratio should be number, not '2'"),
    ],
)
def test_wrong_rows_are_refused(change, words):
    with pytest.raises(ValidationError) as refused:
        replace(ROW, **change)
    assert re.search(words, first_complaint(refused.value))


def test_latest_of_each_seed_and_never_mixed():
    older = replace(ROW, metrics={"execution_accuracy": 0.1})
    other_protocol = replace(ROW, seed=3, protocol="spider-exec")
    smaller = replace(ROW, seed=4, n=10)
    rows = [older, other_protocol, smaller, replace(ROW, seed=2), replace(ROW, split="heldout"), ROW]
    found = ledger.latest(rows, "toy.base")
    assert found == [ROW, replace(ROW, seed=2)]
    assert ledger.latest(rows, "toy.base", "heldout") == [replace(ROW, split="heldout")]
    assert ledger.latest(rows, "toy.absent") == []


def test_mean_and_spread_over_seeds():
    rows = [
        replace(ROW, seed=seed, metrics={"execution_accuracy": value}) for seed, value in ((1, 0.5), (2, 0.6), (3, 0.7))
    ]
    summary = ledger.summarize(rows, "execution_accuracy")
    assert summary is not None
    assert (round(summary.mean, 9), round(summary.spread, 9), summary.seeds) == (0.6, 0.1, (1, 2, 3))
    assert ledger.summarize(rows[:1], "execution_accuracy") == ledger.Summary(0.5, 0.0, (1,))
    assert ledger.summarize(rows, "absent") is None


def test_commands_and_machines_name_no_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["/usr/x/pytest", f"{tmp_path}/recipes/a.yaml", "output=/home/me/out", "n=2", "ratio=1/2"]
    )
    row = ledger.new_row(
        "toy.base", profile="tiny", seed=1, split="test", n=1, metrics={"ratio": 1}, data_hash="", seconds=1
    )
    assert row.command.endswith(" recipes/a.yaml output=out n=2 ratio=1/2")
    assert "/home" not in row.command
    assert "CPU cores" in row.machine
    assert "/" not in row.machine
    with pytest.raises(UserError, match="no ledger row for toy"):
        ledger.new_row("toy", profile="tiny", seed=1, split="test", n=1, metrics={"ratio": 1}, data_hash="", seconds=1)


def test_git_revision_is_this_checkouts():
    head = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        pytest.skip("not a git checkout")
    assert ledger.git_revision().removesuffix("-dirty") == head.stdout.strip()
