"""The library call and what lies under it: batches, caches, start-up, suites."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqleval_files import make_database

from sqleval import Evaluator, Protocol
from sqleval.cache import GoldCache, gold_key
from sqleval.outcome import Rows
from sqleval.suite.__main__ import main as suite_main
from sqleval.suite.build import build_suite
from sqleval.suite.mutate import neighbours

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


def test_gold_cache_on_disk(tmp_path: Path) -> None:
    key = gold_key("content", "SELECT 1", "spider-exec")
    assert key != gold_key("content", "SELECT 1", "strict")
    rows = Rows(("a", "b"), [(1, "x"), (2.5, None), (b"\xff", "é")], seconds=0.5)
    GoldCache(tmp_path).put(key, rows)
    assert GoldCache(tmp_path).get(key) == rows
    quick = gold_key("content", "SELECT 2", "spider-exec")
    GoldCache(tmp_path).put(quick, Rows(("a",), [(1,)], seconds=0.0001))
    assert GoldCache(tmp_path).get(quick) is None
    file = make_database(tmp_path / "x.sqlite")
    assert GoldCache(tmp_path).content_hash(file) == GoldCache(tmp_path / "other").content_hash(file)


def test_a_broken_cache_only_costs_time(tmp_path: Path, root: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/gold.sqlite").write_bytes(b"not a database" * 100)
    (tmp_path / "file").write_text("in the way")
    for cache in (tmp_path / "cache", tmp_path / "file"):
        with Evaluator(root, jobs=1, cache=cache) as evaluator:
            assert [verdict.outcome for verdict in evaluator.score_batch(ITEMS)] == OUTCOMES


def test_neighbours_are_one_change_away() -> None:
    found = neighbours("SELECT name FROM customer WHERE age > 30 AND city = 'Rome' ORDER BY age DESC LIMIT 1")
    for expected in (
        "SELECT name FROM customer ORDER BY age DESC LIMIT 1",
        "SELECT name FROM customer WHERE age >= 30 AND city = 'Rome' ORDER BY age DESC LIMIT 1",
        "SELECT name FROM customer WHERE age > 30 OR city = 'Rome' ORDER BY age DESC LIMIT 1",
        "SELECT name FROM customer WHERE age > 31 AND city = 'Rome' ORDER BY age DESC LIMIT 1",
        "SELECT name FROM customer WHERE age > 30 AND city = 'Rome' ORDER BY age DESC",
    ):
        assert expected in found
    assert neighbours("not sql (") == []


def test_suite_tells_lucky_queries_apart(
    root: Path, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golds = [
        "SELECT name FROM customer WHERE age > 30",
        "SELECT count(*) FROM purchase WHERE price >= 6.0",
        "SELECT T1.name, sum(T2.price) FROM customer AS T1 JOIN purchase AS T2 ON T1.id = T2.customer_id GROUP BY T1.id",
    ]
    before = shop.read_bytes()
    suite = build_suite(shop, golds, tmp_path / "suite/shop", tries=15)
    assert suite.told_by_suite > suite.told_by_original
    assert 2 <= len(suite.files) <= 16 and shop.read_bytes() == before
    again = build_suite(shop, golds, tmp_path / "again/shop", tries=15)
    assert [path.read_bytes() for path in again.files] == [path.read_bytes() for path in suite.files]
    lucky = "SELECT name FROM customer WHERE age > 31"
    with (
        Evaluator(root, "spider-exec", jobs=0) as plain,
        Evaluator(tmp_path / "suite", "spider-test-suite", jobs=0) as full,
    ):
        assert plain.score("shop", golds[0], lucky).correct
        assert not full.score("shop", golds[0], lucky).correct
        assert all(full.score("shop", gold, gold).correct for gold in golds)
    gold_file = tmp_path / "gold.sql"
    gold_file.write_text("".join(f"{gold}\tshop\n" for gold in golds))
    assert (
        suite_main(
            ["build", "--db", str(shop), "--gold", str(gold_file), "--out", str(tmp_path / "cli/shop"), "--tries", "3"]
        )
        == 0
    )
    assert "neighbours" in capsys.readouterr().out
    gold_file.write_text("SELECT nope\n")
    assert suite_main(["build", "--db", str(shop), "--gold", str(gold_file), "--out", str(tmp_path / "cli/x")]) == 2
    assert (
        suite_main(
            ["build", "--db", str(tmp_path / "none"), "--gold", str(gold_file), "--out", str(tmp_path / "cli/x")]
        )
        == 2
    )
    assert "error: " in capsys.readouterr().err
