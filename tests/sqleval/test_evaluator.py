"""The library call: batches, threads and forks, changed databases, start-up, a broken cache."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sqleval import Evaluator, Failure, Protocol, Rows
from support.sqleval_files import make_database

ITEMS = [
    ("shop", "SELECT count(*) FROM customer", "SELECT 4"),
    ("shop", "SELECT count(*) FROM customer", "SELECT 5"),
    ("shop", "SELECT count(*) FROM customer", "SELECT x"),
    ("nowhere", "SELECT 1", "SELECT 1"),
    ("shop", "SELECT nope", "SELECT 1"),
    ("shop", "SELECT name FROM customer", "SELECT name FROM customer UNION ALL SELECT name FROM customer"),
]
OUTCOMES = ["match", "mismatch", "error", "gold_error", "gold_error", "mismatch"]


@pytest.mark.parametrize("jobs", [0, 1, 3])
def test_one_verdict_for_each_item_in_order(root: Path, jobs: int) -> None:
    told: list[int] = []
    with Evaluator(root, jobs=jobs) as evaluator:
        for _ in range(2):
            verdicts = evaluator.score_batch(ITEMS, told.append)
            assert [verdict.outcome for verdict in verdicts] == OUTCOMES
        assert evaluator.score_batch([]) == []
    assert sum(told) == 2 * len(ITEMS)
    assert (verdicts[2].error_class, verdicts[2].name) == ("no_such_column", "x")
    assert (verdicts[0].gold_rows, verdicts[0].pred_rows) == (1, 1)


def test_wrong_settings(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown protocol 'exec'"):
        Evaluator(root, "exec")
    with pytest.raises(ValueError, match="belong to the spider protocols"):
        Protocol("bird-ex", plug_value=True)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Evaluator(tmp_path / "none")


def test_plugging_goes_on_after_a_literal_that_is_no_column(root: Path) -> None:
    gold = "SELECT c1.name FROM customer AS c1 WHERE c1.city = 'Rome' AND c1.age > 20"
    with Evaluator(root, Protocol("spider-exec", plug_value=True), jobs=0, cache=None) as evaluator:
        assert evaluator.score("shop", gold, "SELECT name FROM customer WHERE age > 99 AND city = 'x'").correct


def test_a_changed_database_gets_new_verdicts(root: Path, shop: Path) -> None:
    with Evaluator(root, jobs=1) as evaluator:
        assert evaluator.score("shop", "SELECT count(*) FROM customer", "SELECT 4").correct
        db = sqlite3.connect(shop)
        db.execute("INSERT INTO customer VALUES (9, 'Zed', 'Bonn', 5)")
        db.commit()
        db.close()
        os.utime(shop, ns=(5, 5))
        assert not evaluator.score("shop", "SELECT count(*) FROM customer", "SELECT 4").correct


def test_threads_and_forks_may_share_an_evaluator(root: Path) -> None:
    with Evaluator(root, jobs=1, remember=False) as evaluator:
        found: list[list[str]] = []
        threads = [
            threading.Thread(target=lambda: found.append([v.outcome for v in evaluator.score_batch(ITEMS)]))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [OUTCOMES] * 4
        child = os.fork()
        if child == 0:
            right = [v.outcome for v in evaluator.score_batch(ITEMS)] == OUTCOMES
            evaluator.close()
            os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [v.outcome for v in evaluator.score_batch(ITEMS)] == OUTCOMES


def test_workers_end_with_their_parent(root: Path) -> None:
    code = (
        "import sys, os, signal; from sqleval import Evaluator; e = Evaluator(sys.argv[1], jobs=2); "
        "e.score_batch([('shop', 'SELECT 1', f'SELECT {i}') for i in range(9)]); print(*e.worker_pids(), flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True)
    pids = [int(word) for word in done.stdout.split()]
    assert pids
    for _ in range(100):
        if not any(
            Path(f"/proc/{pid}/cmdline").is_file() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids
        ):
            return
        threading.Event().wait(0.1)
    pytest.fail(f"workers {pids} outlive their parent")


def test_import_is_light() -> None:
    code = "import sys, sqleval; sqleval.Evaluator, sqleval.hardness('SELECT a FROM t'); print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"numpy", "pandas", "torch", "sqlglot", "text2sql", "rich"}


def test_a_broken_cache_only_costs_time(tmp_path: Path, root: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/gold.sqlite").write_bytes(b"not a database" * 100)
    (tmp_path / "file").write_text("in the way")
    for cache in (tmp_path / "cache", tmp_path / "file"):
        with Evaluator(root, jobs=1, cache=cache) as evaluator:
            assert [verdict.outcome for verdict in evaluator.score_batch(ITEMS)] == OUTCOMES


@pytest.mark.parametrize("jobs", [0, 1])
def test_statements_run_without_a_gold(root: Path, jobs: int) -> None:
    sqls = ["SELECT DISTINCT age FROM customer WHERE id > 3", "SELECT nope", "DROP TABLE customer", "", "x" * 300_000]
    sqls += ["WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"]
    told: list[int] = []
    with Evaluator(root, jobs=jobs, timeout=0.5) as evaluator:
        found = evaluator.run_batch(
            [("shop", sql) for sql in (*sqls, sqls[0])] + [("nowhere", "SELECT 1")], told.append
        )
        assert evaluator.score("shop", "SELECT 4", "SELECT count(*) FROM customer").correct
    assert sum(told) == len(found) == 8
    assert isinstance(found[0][0], Rows) and found[0][0].rows == [(30,)]
    assert [outcome.error.value for (outcome,) in found[1:6] if isinstance(outcome, Failure)] == [
        "no_such_column", "forbidden", "syntax", "too_large", "timeout",
    ]  # fmt: skip
    assert found[6] == found[0]
    assert isinstance(found[7][0], Failure)


def test_a_suite_is_run_on_every_instance(root: Path, shop: Path) -> None:
    make_database(shop.with_name("other.sqlite"))
    with Evaluator(root, "spider-test-suite", jobs=1) as suite, Evaluator(root, jobs=1) as plain:
        items = [("shop", "SELECT id FROM customer"), ("shop", "SELECT nope")]
        assert [len(found) for found in suite.run_batch(items)] == [2, 1]
        assert [len(found) for found in plain.run_batch(items)] == [1, 1]
