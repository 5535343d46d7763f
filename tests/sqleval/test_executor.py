"""Several processes for single statements, and results of which only the first rows are read."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sqleval import ErrorClass, Executor, Failure, Limits, Rows

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT {} FROM c"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (a)")
    return path


def test_a_slow_statement_holds_up_one_process_only(database: Path) -> None:
    executor = Executor(2)
    executor.execute(database, "SELECT 1")
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(executor.execute, database, ENDLESS.format("count(*)"), timeout=3.0)
        time.sleep(0.2)
        found = executor.execute(database, "SELECT 2")
        assert not slow.done()
        assert isinstance(found, Rows) and found.rows == [(2,)]
        late = slow.result()
    assert isinstance(late, Failure) and late.error == ErrorClass.TIMEOUT
    executor.close()
    again = executor.execute(database, "SELECT 3")
    assert isinstance(again, Rows) and again.rows == [(3,)], "closed, it starts again"
    executor.close()


@pytest.mark.parametrize("first", [1, 63, 64, 65, 1000])
def test_only_the_first_rows_are_read(database: Path, first: int) -> None:
    executor = Executor()
    found = executor.execute(database, ENDLESS.format("x"), Limits(first=first))
    assert isinstance(found, Rows) and [x for (x,) in found.rows] == list(range(1, first + 1))
    fewer = executor.execute(database, "VALUES (1), (2)", Limits(first=1000))
    assert isinstance(fewer, Rows) and len(fewer.rows) == 2
    executor.close()
