"""The rules by which two results are the same answer, and the rewriting of SQL text before."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqleval.compare.rewrite import canonical, ends_ordered, fill_placeholder, fix_year, plugged, tidy
from sqleval.compare.rules import bird_equal, bird_soft_f1, spider_equal, strict_equal

rows = st.lists(st.tuples(*[st.sampled_from([0, 1, 2, "a", "b", None])] * 3), max_size=5)


@settings(max_examples=300, deadline=None)
@given(gold=rows, pred=rows, ordered=st.booleans())
def test_spider_rule_is_some_column_permutation(gold: list, pred: list, ordered: bool) -> None:
    def same(one: list, other: list) -> bool:
        return one == other if ordered else sorted(one, key=repr) == sorted(other, key=repr)

    orders = itertools.permutations(range(3))
    expected = any(same(gold, [tuple(row[i] for i in order) for row in pred]) for order in orders)
    assert spider_equal(gold, pred, ordered) == expected


def test_spider_rule_by_example() -> None:
    assert spider_equal([], [], True)
    assert spider_equal([(6,)], [(6.0,)], False)
    assert not spider_equal([(6,)], [("6",)], False)
    assert not spider_equal([(1,), (1,)], [(1,)], False)
    assert spider_equal([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], False)
    assert not spider_equal([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], True)
    # Kept from the official tool: equal numbers that sort differently as text make rows differ.
    assert not spider_equal([(6, 60)], [(6.0, 60)], False)
    assert spider_equal([(6, 70)], [(6, 70)], False)


def test_wide_results_are_matched_fast() -> None:
    source = random.Random(1)
    gold = [tuple(source.randrange(2) for _ in range(24)) for _ in range(40)]
    order = source.sample(range(24), 24)
    pred = [tuple(row[i] for i in order) for row in gold]
    assert spider_equal(gold, source.sample(pred, len(pred)), False)
    broken = [*pred[:-1], tuple(1 - cell for cell in pred[-1])]
    assert not spider_equal(gold, broken, False)


def test_bird_and_strict_rules() -> None:
    assert bird_equal([(1,), (1,)], [(1,)])
    assert not bird_equal([(1, 2)], [(2, 1)])
    assert strict_equal([(1,), (2,)], [(2,), (1,)], ordered=False)
    assert not strict_equal([(1,), (2,)], [(2,), (1,)], ordered=True)
    assert not strict_equal([(6,)], [(6.0,)], ordered=False)
    assert not strict_equal([(1,), (1,)], [(1,)], ordered=False)


def test_soft_f1() -> None:
    assert bird_soft_f1([], []) == 1.0
    assert bird_soft_f1([(1, 2)], []) == 0.0
    assert bird_soft_f1([], [(1,)]) == 0.0
    assert bird_soft_f1([("a", 1), ("b", 2)], [(1, "a"), (2, "b")]) == 1.0
    # The example of the metric's authors: two of three names right, one row without its second cell.
    gold = [("Apple", 325), ("Orange", None), ("Banana", 119)]
    assert bird_soft_f1(gold, [(325, "Apple"), (191, "Orange"), (None, "Banana")]) == pytest.approx(4 / 6)


def test_text_rules() -> None:
    assert tidy("SELECT DISTINCT a, count(distinct b) FROM t; DROP TABLE t", False) == "SELECT  a, count( b) FROM t; "
    assert tidy("SELECT 'distinct', \"distinct\" FROM t -- distinct", False).count("distinct") == 3
    assert tidy("SELECT a > = 1; x", True) == "SELECT a >= 1; x"
    assert fix_year("SELECT year( curdate( ) ) - 1") == "SELECT 2020- 1"
    assert ends_ordered("SELECT 1 FROM t ORDER  BY a") and not ends_ordered("SELECT * FROM (SELECT 1 ORDER BY 1)")
    assert canonical("Select  A from T where b = 'X Y';") == canonical("select a FROM t WHERE B = 'X Y'")
    assert canonical("SELECT 'a'") != canonical("SELECT 'A'")
    for other in ("SELECT\u00a0a", "SELECT\x0ba", "SELECT a;;", "SELECT a\u00a0"):
        assert canonical(other) != canonical("SELECT a")
    assert tidy("CREATE TRIGGER t AFTER INSERT ON s BEGIN SELECT 1; END; SELECT 2", False).endswith("END; ")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SELECT a FROM t WHERE b = value", "SELECT a FROM t WHERE b = 1"),
        ('SELECT a FROM t WHERE b > "value"', 'SELECT a FROM t WHERE b > "1"'),
        ("SELECT a FROM t WHERE b = ' value '", "SELECT a FROM t WHERE b = ' 1 '"),
        ("SELECT t.value, values_x FROM t", "SELECT t.value, values_x FROM t"),
        ("SELECT a FROM t WHERE b = 'high value'", "SELECT a FROM t WHERE b = 'high value'"),
        ("SELECT attribute_value FROM t", "SELECT attribute_value FROM t"),
        ("SELECT sum(b) AS value FROM t ORDER BY value", "SELECT sum(b) AS value FROM t ORDER BY value"),
    ],
)
def test_placeholder(before: str, after: str) -> None:
    assert fill_placeholder(before, {"a", "b"}, everywhere=False) == after
    assert fill_placeholder(before, {"value"}, everywhere=True) == before.replace("value", "1")


def test_placeholder_leaves_a_column_called_value() -> None:
    assert fill_placeholder("SELECT value FROM t", {"value"}, everywhere=False) == "SELECT value FROM t"


def test_plugging_tries_all_combinations() -> None:
    found = list(plugged("SELECT a FROM t WHERE b = 'x' AND c > 5", "SELECT a FROM t WHERE c > 7 AND b = 'y'"))
    assert len(found) == 4
    assert "select a from t where c > 5 and b = 'x'" in found
