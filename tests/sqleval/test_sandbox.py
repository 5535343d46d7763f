"""Untrusted SQL: typed outcomes, caps, and nothing written, lost or left hanging."""

import contextlib
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqleval import ErrorClass, Evaluator, Failure, Limits, Protocol, Rows, execute, run_on_copy
from support.hostile import hostile_statements
from support.sqleval_files import make_database

TIMEOUT = 0.5


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_rows_come_with_names_and_types(shop: Path) -> None:
    found = execute(shop, "SELECT name, age, 2.5 AS x, x'ff', NULL FROM customer ORDER BY id LIMIT 1")
    assert isinstance(found, Rows)
    assert found.columns[:3] == ("name", "age", "x")
    assert found.rows == [("Ann", 30, 2.5, b"\xff", None)]


@pytest.mark.parametrize(
    ("sql", "error", "name"),
    [
        ("SELEC 1", ErrorClass.SYNTAX, ""),
        ("SELECT (1", ErrorClass.SYNTAX, ""),
        ("", ErrorClass.SYNTAX, ""),
        ("-- nothing", ErrorClass.SYNTAX, ""),
        ("SELECT '\x00'", ErrorClass.SYNTAX, ""),
        ("SELECT '\ud800'", ErrorClass.SYNTAX, ""),
        ("SELECT * FROM nope", ErrorClass.NO_SUCH_TABLE, "nope"),
        ("SELECT nope FROM customer", ErrorClass.NO_SUCH_COLUMN, "nope"),
        ("SELECT c.nope FROM customer AS c", ErrorClass.NO_SUCH_COLUMN, "c.nope"),
        ("SELECT id FROM customer, purchase", ErrorClass.AMBIGUOUS_COLUMN, "id"),
        ("SELECT name FROM customer WHERE count(*) > 1", ErrorClass.AGGREGATE_MISUSE, ""),
        ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT 1 FROM c) SELECT count(*) FROM c", ErrorClass.TIMEOUT, ""),
        ("SELECT zeroblob(100000000)", ErrorClass.TOO_LARGE, ""),
        ("DELETE FROM customer", ErrorClass.FORBIDDEN, ""),
        ("PRAGMA table_info(customer)", ErrorClass.FORBIDDEN, ""),
        ("SELECT load_extension('x')", ErrorClass.FORBIDDEN, ""),
        ("SELECT 1; SELECT 2", ErrorClass.MULTIPLE_STATEMENTS, ""),
        ("SELECT abs(-9223372036854775808)", ErrorClass.OTHER, ""),
    ],
)
def test_failures_have_a_class(shop: Path, sql: str, error: ErrorClass, name: str) -> None:
    found = execute(shop, sql, timeout=0.3)
    assert isinstance(found, Failure)
    assert (found.error, found.name) == (error, name)


def test_a_statement_is_stopped_inside_one_call_of_a_function(shop: Path) -> None:
    """No clock is looked at inside a call: the process is ended, and the next statement has another."""
    slow = "SELECT instr(hex(zeroblob(500000)), hex(zeroblob(260000)) || '1')"
    started = time.monotonic()
    found = execute(shop, slow, timeout=0.2)
    assert isinstance(found, Failure) and found.error is ErrorClass.TIMEOUT
    found = execute(shop, "SELECT length(printf('%.*c', 2000000000, 'x'))")
    assert isinstance(found, Failure) and found.error is ErrorClass.TOO_LARGE
    hidden = execute(shop, "SELECT length(printf('%.' || '*c', 2000000000, 'x'))", timeout=0.2)
    assert isinstance(hidden, Failure) and hidden.error is ErrorClass.TIMEOUT
    assert time.monotonic() - started < 5
    assert isinstance(execute(shop, "SELECT printf('%.3c|%5.2f', 'x', 1)"), Rows)


def test_a_serialized_database_is_read_like_a_file(shop: Path) -> None:
    db = sqlite3.connect(shop)
    found = execute(db.serialize(), "SELECT count(*) FROM customer")
    db.close()
    assert isinstance(found, Rows) and found.rows == [(4,)]


def test_caps_on_rows_and_bytes(shop: Path) -> None:
    many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 5000) SELECT x, zeroblob(1000) FROM c"
    for limits in (Limits(rows=1000), Limits(result_bytes=1_000_000)):
        found = execute(shop, many, limits)
        assert isinstance(found, Failure) and found.error is ErrorClass.TOO_LARGE
    assert isinstance(execute(shop, many), Rows)


def test_invalid_utf8_is_read(tmp_path: Path) -> None:
    path = make_database(
        tmp_path / "bad.sqlite", "CREATE TABLE t (a); INSERT INTO t VALUES (CAST(x'61ff62' AS TEXT)), ('ok');"
    )
    found = execute(path, "SELECT a FROM t")
    assert isinstance(found, Rows) and found.rows == [("ab",), ("ok",)]


def test_missing_database(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such database"):
        execute(tmp_path / "none.sqlite", "SELECT 1")
    assert not (tmp_path / "none.sqlite").exists()


def test_a_changed_database_is_read_anew(shop: Path) -> None:
    before = execute(shop, "SELECT count(*) FROM customer")
    db = sqlite3.connect(shop)
    db.execute("INSERT INTO customer VALUES (50, 'New', 'Bonn', 1)")
    db.commit()
    db.close()
    os.utime(shop, ns=(1, 1))
    after = execute(shop, "SELECT count(*) FROM customer")
    assert isinstance(before, Rows) and isinstance(after, Rows) and (before.rows, after.rows) == ([(4,)], [(5,)])


def test_scratch_changes_a_copy_only(shop: Path) -> None:
    before = digest(shop)
    one = run_on_copy(shop, "UPDATE customer SET age = 5 WHERE name = 'Ann'")
    same = run_on_copy(shop, "UPDATE customer SET age = 4 + 1 WHERE id IN (1, 4)")
    other = run_on_copy(shop, "DELETE FROM customer WHERE id = 1 RETURNING name")
    assert isinstance(one, Rows) and isinstance(same, Rows) and isinstance(other, Rows)
    assert one.changed == same.changed == 2
    assert one.state == same.state != other.state
    assert other.rows == [("Ann",)]
    for sql in ("DROP TABLE customer", "ATTACH ':memory:' AS m", "PRAGMA hard_heap_limit = 1"):
        refused = run_on_copy(shop, sql)
        assert isinstance(refused, Failure) and refused.error is ErrorClass.FORBIDDEN
    assert digest(shop) == before


def test_hostile_corpus(root: Path, shop: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    statements = hostile_statements(str(outside))
    assert len(statements) >= 200
    before, listing = digest(shop), sorted(shop.parent.iterdir())
    with Evaluator(root, jobs=1, timeout=TIMEOUT, cache=None, remember=False) as evaluator:
        evaluator.score("shop", "SELECT 1", "SELECT 1")

        def seconds(sql: str) -> float:
            start = time.monotonic()
            verdict = evaluator.score("shop", "SELECT name FROM customer WHERE id < 0", sql)
            assert verdict.outcome in ("match", "mismatch", "error")
            assert verdict.message != "the worker process ended twice on this item"
            return time.monotonic() - start

        slow = [sql for sql in statements if seconds(sql) > TIMEOUT + 0.5]
        # A second look, because a busy machine may have been slow and not the evaluator.
        assert [sql[:100] for sql in slow if seconds(sql) > TIMEOUT + 0.5] == []
    assert digest(shop) == before
    assert sorted(shop.parent.iterdir()) == listing
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "protocol", [Protocol("spider-exec", plug_value=True, official_quirks=True), Protocol("bird-soft-f1")]
)
def test_hostile_corpus_as_one_batch(root: Path, shop: Path, tmp_path: Path, protocol: Protocol) -> None:
    before = digest(shop)
    outside = tmp_path / "outside"
    outside.mkdir()
    statements = hostile_statements(str(outside))
    with Evaluator(root, protocol, jobs=2, timeout=0.1, cache=None) as evaluator:
        verdicts = evaluator.score_batch([("shop", "SELECT name FROM customer", sql) for sql in statements])
    assert len(verdicts) == len(statements)
    assert not any(verdict.correct for verdict in verdicts)
    assert digest(shop) == before and list(outside.iterdir()) == []


def test_killed_workers_lose_nothing(root: Path) -> None:
    slow = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {}) SELECT max(x) > 0 FROM c"
    items = [("shop", "SELECT 1", slow.format(20_000 + i)) for i in range(200)]
    with Evaluator(root, jobs=2, timeout=10, cache=None) as evaluator:
        evaluator.score_batch([("shop", "SELECT 1", f"SELECT {i}") for i in range(20)])
        stop = threading.Event()
        killed: set[int] = set()

        def kill() -> None:
            # Each worker once: an item whose worker dies twice would be an error, and rightly.
            for pid in evaluator.worker_pids():
                stop.wait(0.2)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)

        killer = threading.Thread(target=kill)
        killer.start()
        verdicts = evaluator.score_batch(items)
        stop.set()
        killer.join()
        assert len(killed) >= 1
        assert [verdict.correct for verdict in verdicts] == [True] * len(items)
        assert all(verdict.correct for verdict in evaluator.score_batch(items[:3]))


def test_an_item_whose_worker_always_dies_is_an_error(root: Path) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT 1 FROM c) SELECT count(*) FROM c"
    with Evaluator(root, jobs=1, timeout=60, cache=None) as evaluator:
        evaluator.score("shop", "SELECT 1", "SELECT 1")
        done = threading.Event()

        def kill() -> None:
            while not done.wait(0.5):
                for pid in evaluator.worker_pids():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        verdict = evaluator.score("shop", "SELECT 1", endless)
        done.set()
        killer.join()
        assert (verdict.outcome, verdict.error_class) == ("error", "other")
        assert verdict.message == "the worker process ended twice on this item"
        assert evaluator.score("shop", "SELECT 2", "SELECT 2").correct


identifiers = st.sampled_from(
    ["customer", "purchase", "name", "age", "id", "value", "sqlite_master", "x", "*", "1", "'a'", '"b"', "x'00'"]
)
words = st.sampled_from(
    "SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET JOIN ON AS UNION ALL EXCEPT INTERSECT DISTINCT WITH RECURSIVE CASE WHEN THEN "
    "END NOT IN LIKE BETWEEN AND OR IS NULL EXISTS CAST DROP TABLE DELETE INSERT INTO VALUES UPDATE SET PRAGMA ATTACH VACUUM BEGIN COMMIT "
    "count( sum( max( group_concat( printf( zeroblob( ( ) , ; . = < > != + - * / || -- /* */ ' \" ` [ ] ? : @ $ # % \\ \n \t".split(
        " "
    )
)
texts = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(words, identifiers, st.text(max_size=4)), max_size=25).map(" ".join),
    st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", errors="surrogateescape")),
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_database(tmp_path_factory.mktemp("fuzz") / "database" / "shop" / "shop.sqlite")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(sql=texts, protocol=st.sampled_from(["spider-exec", "strict", "bird-ex", "bird-soft-f1"]), flag=st.booleans())
def test_any_text_gets_a_verdict_and_changes_nothing(fuzzed: Path, sql: str, protocol: str, flag: bool) -> None:
    before = digest(fuzzed)
    rule = (
        Protocol(protocol, plug_value=flag, official_quirks=flag) if protocol == "spider-exec" else Protocol(protocol)
    )
    evaluator = Evaluator(fuzzed.parents[1], rule, jobs=0, timeout=0.2, cache=None)
    verdict = evaluator.score("shop", "SELECT name FROM customer WHERE id = 77", sql)
    evaluator.close()
    assert verdict.outcome in ("match", "mismatch", "error")
    assert digest(fuzzed) == before and list(fuzzed.parent.iterdir()) == [fuzzed]


def test_virtual_tables_are_read_under_the_authorizer(tmp_path: Path) -> None:
    script = "CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('hello world'), ('bye');"
    path = make_database(tmp_path / "text.sqlite", script + "CREATE VIRTUAL TABLE r USING rtree(id, a, b);")
    for sql, rows in (
        ("SELECT x FROM f WHERE f MATCH 'hello'", [("hello world",)]),
        ("SELECT count(*) FROM r", [(0,)]),
        ("SELECT value FROM json_each('[5, 6]')", [(5,), (6,)]),
        ("SELECT count(*) FROM json_tree('[5, 6]')", [(3,)]),
    ):
        found = execute(path, sql)
        assert isinstance(found, Rows) and found.rows == rows
    for sql in ("INSERT INTO f(f) VALUES ('rebuild')", "SELECT * FROM pragma_table_info('f')", "SELECT * FROM dbstat"):
        refused = execute(path, sql)
        assert isinstance(refused, Failure) and refused.error is ErrorClass.FORBIDDEN


def test_changes_in_a_write_ahead_log_are_seen(root: Path, shop: Path) -> None:
    writer = sqlite3.connect(shop, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    with Evaluator(root, jobs=1, cache=None) as evaluator:
        assert evaluator.score("shop", "SELECT count(*) FROM customer", "SELECT 4").correct
        writer.execute("INSERT INTO customer VALUES (9, 'Eve', 'Bonn', 20)")
        assert evaluator.score("shop", "SELECT count(*) FROM customer", "SELECT 5").correct
    writer.close()


def test_wide_rows_do_not_fill_memory_before_the_caps_are_looked_at(shop: Path) -> None:
    code = (
        "import resource, sys; from sqleval import execute; resource.setrlimit(resource.RLIMIT_AS, (700 << 20,) * 2); "
        "print(execute(sys.argv[1], 'SELECT ' + ', '.join(['zeroblob(1000000)'] * 40) + ' FROM customer, purchase').message)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(shop)], capture_output=True, text=True, check=True)
    assert "bytes of rows" in done.stdout


@pytest.mark.parametrize("jobs", [0, 1])
def test_odd_names_of_databases_get_a_verdict(root: Path, jobs: int) -> None:
    with Evaluator(root, "spider-test-suite", jobs=jobs, cache=None) as evaluator:
        for name in ("", "..", "a\x00b", "\ud800", "x" * 5000, "shop/../shop"):
            verdict = evaluator.score(name, "SELECT 1", "SELECT 1")
            assert verdict.outcome in ("gold_error", "match")
