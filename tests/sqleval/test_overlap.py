"""How near a mismatch is: worked out on bags of rows and cells, on the first instance, wherever the query ran."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from sqleval import Evaluator, Overlap, Rows
from sqleval.compare.rules import MOST_ROWS, overlap


@pytest.mark.parametrize(
    ("gold", "found", "expected"),
    [
        (Rows(("a",), [(1,), (2,)]), Rows(("A",), [(2,), (3,)]), Overlap(1 / 3, 0.5, 0.5, 1.0)),
        (Rows(("a",), [(1,), (1,)]), Rows(("a",), [(1,)]), Overlap(0.5, 1.0, 0.5, 0.5)),
        (Rows(("a",), [(1,)]), Rows(("a",), [(1,), (1,), (1,), (1,)]), Overlap(0.25, 0.25, 1.0, 0.25)),
        (Rows(("a", "b"), [(1, 2)]), Rows(("b",), [(2,)]), Overlap(1.0, 1.0, 0.5, 1.0)),
        (Rows(("a",), [(1,)]), Rows(("b",), [(1,)]), Overlap(0.0, 1.0, 1.0, 1.0)),
        (Rows(("a",), []), Rows(("a",), [(1,)]), Overlap(0.0, 0.0, 0.0, 0.0)),
        (Rows(("a",), [(1,)]), Rows(("a",), [(1,)] * (MOST_ROWS + 1)), None),
    ],
)
def test_overlap_of_results(gold: Rows, found: Rows, expected: Overlap | None) -> None:
    assert overlap(gold, found) == expected


@pytest.mark.parametrize("jobs", [0, 1])
def test_only_mismatches_have_one_and_only_where_asked(root: Path, jobs: int) -> None:
    right, near, wrong = (
        "SELECT name FROM customer",
        "SELECT name FROM customer LIMIT 2",
        "SELECT nothing FROM customer",
    )
    items = [("shop", right, sql) for sql in (right, near, wrong)]
    with Evaluator(root, jobs=jobs, overlaps=True) as asked, Evaluator(root, jobs=jobs) as plain:
        match, mismatch, error = asked.score_batch(items)
        others = plain.score_batch(items)
    assert match.overlap is None and error.overlap is None and mismatch.overlap is not None
    assert mismatch.overlap.precision == 1.0 and 0 < mismatch.overlap.recall == mismatch.overlap.cardinality < 1
    assert [v.overlap for v in others] == [None] * 3
    assert [v.outcome for v in others] == [match.outcome, mismatch.outcome, error.outcome]


def test_a_query_right_by_luck_is_seen_on_the_first_instance(root: Path) -> None:
    second = root / "shop/shop_1.sqlite"
    shutil.copy(root / "shop/shop.sqlite", second)
    with sqlite3.connect(second) as db:
        db.execute("DELETE FROM customer WHERE id = (SELECT max(id) FROM customer)")
    count = sqlite3.connect(root / "shop/shop.sqlite").execute("SELECT count(*) FROM customer").fetchone()[0]
    with Evaluator(root, protocol="spider-test-suite", jobs=0, overlaps=True) as evaluator:
        verdict = evaluator.score("shop", "SELECT count(*) FROM customer", f"SELECT {count}")
    assert verdict.outcome == "mismatch" and verdict.overlap is not None
    assert (verdict.overlap.precision, verdict.overlap.rows) == (1.0, 0.0)
