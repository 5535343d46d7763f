"""Building test suites: neighbours of a query, and instances that distinguish them from it."""

from pathlib import Path

import pytest

from sqleval import Evaluator
from sqleval.suite.__main__ import main as suite_main
from sqleval.suite.build import build_suite
from sqleval.suite.fuzz import literals
from sqleval.suite.mutate import neighbours


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
    assert suite.distinguished_by_suite > suite.distinguished_by_original
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


def test_odd_literals_are_stored_or_left_out() -> None:
    odd = (
        "SELECT 'a%', \"b\", 007, 1e999, -0x7fE, 99999999999999999999999, 9223372036854775807, 1.5, '\ud800z'"
        + "9" * 5000
    )
    found = literals([odd])
    assert {"a", "b", 7, 6, 8, -2046, 1.5, "z"} <= set(found)
    assert all(abs(value) < 2**63 for value in found if isinstance(value, int | float))
    "".join(value for value in found if isinstance(value, str)).encode()
