"""Building test suites: neighbours of a query, and instances that distinguish them from it."""

from pathlib import Path

import pytest

from sqleval import Evaluator
from sqleval.suite.__main__ import main as suite_main
from sqleval.suite.build import build_suite
from sqleval.suite.hints import parsed, read_hints
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
    suite = build_suite(shop, golds, tmp_path / "suite/shop", tries=6)
    assert suite.distinguished_by_suite > suite.distinguished_by_original
    assert 4 <= len(suite.files) <= 9 and shop.read_bytes() == before
    again = build_suite(shop, golds, tmp_path / "again/shop", tries=6)
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
    odd = "'a%', \"b\", 007, 1e999, 99999999999999999999999, 9223372036854775807, 1.5, '\ud800z'"
    (tree,) = [parsed(f"SELECT * FROM t WHERE x IN ({odd}, {'9' * 5000})")]
    found = read_hints([tree], {"t": ["x"]}).literals["x"]
    assert {"a", "b", 7, 1.5, "z"} <= set(found)
    assert all(abs(value) < 2**63 for value in found if isinstance(value, int | float))
    "".join(value for value in found if isinstance(value, str)).encode()


def test_no_constant_key_or_count_is_right_on_every_instance(root: Path, shop: Path, tmp_path: Path) -> None:
    tricks = {
        "SELECT count(*) FROM purchase": (
            "SELECT max(id) FROM purchase",
            "SELECT 5 + 0 * count(*) FROM purchase",
            "SELECT count(*) FROM purchase WHERE id > 0 AND price > -1",
        ),
        "SELECT avg(price) FROM purchase": (
            "SELECT avg(abs(price)) FROM purchase",
            "SELECT avg(price) FROM purchase WHERE price < 100000",
        ),
        "SELECT name FROM customer WHERE city = 'Rome'": (
            "SELECT name FROM customer WHERE id IN (1, 3)",
            "SELECT name FROM customer WHERE city > 'Q'",
        ),
        "SELECT name FROM customer WHERE id = 3": ("SELECT name FROM customer ORDER BY id LIMIT 1 OFFSET 2",),
    }
    suite = build_suite(shop, list(tricks), tmp_path / "suite/shop")
    assert suite.fixed == 0 and suite.undecided < suite.neighbours / 4
    with Evaluator(tmp_path / "suite", "spider-test-suite", jobs=0) as full:
        assert [sql for gold, few in tricks.items() for sql in few if full.score("shop", gold, sql).correct] == []
