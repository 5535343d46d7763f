"""The rules by which two results are the same answer, and the statistics over them."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqleval import hardness
from sqleval.compare import bird_equal, bird_soft_f1, spider_equal, strict_equal
from sqleval.levels import level
from sqleval.outline import UNREADABLE, outline
from sqleval.rewrite import canonical, ends_ordered, fill_placeholder, fix_year, plugged, tidy
from sqleval.score import efficiency_reward
from sqleval.stats import compare_paired, mcnemar
from sqleval.tally import wilson

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


def test_efficiency_reward_steps() -> None:
    assert [efficiency_reward([r] * 5) for r in (3, 1.5, 0.7, 0.3, 0.1)] == [1.25, 1.0, 0.75, 0.5, 0.25]
    assert efficiency_reward([1.1] * 99 + [500.0]) == 1.0


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


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM singer", "easy"),
        ("SELECT name FROM singer WHERE age > 20", "easy"),
        ("SELECT name, age FROM singer ORDER BY age", "medium"),
        ("SELECT name FROM a WHERE id IN (SELECT id FROM b)", "hard"),
        ("SELECT a FROM t GROUP BY a HAVING count(*) > 1 ORDER BY count(*) DESC LIMIT 1 ", "hard"),
        ("SELECT a FROM t WHERE x = 1 UNION SELECT a FROM u WHERE y LIKE 'z' OR q = 2", "hard"),
        ("SELECT a, b FROM t JOIN u ON t.i = u.i WHERE x IN (SELECT x FROM v) ORDER BY a LIMIT 3", "extra"),
        ("not sql at all (", "extra"),
    ],
)
def test_hardness(sql: str, expected: str) -> None:
    assert hardness(sql) == expected


def test_hardness_outside_spiders_grammar() -> None:
    assert hardness("SELECT CASE WHEN a > 1 THEN 'x' ELSE 'y' END FROM t") in ("easy", "medium")
    assert hardness("WITH c AS (SELECT a FROM t) SELECT a FROM c WHERE a IN (1, 2)") in ("hard", "extra")
    for sql in ("SELECT a FROM t WHERE b = 1", "SELECT count(*), max(a) FROM t GROUP BY b ORDER BY c LIMIT 1"):
        assert level(*outline(sql)) == hardness(sql)


@pytest.mark.parametrize(
    ("sql", "counts"),
    [
        ("SELECT a, b FROM t, u LEFT JOIN v ON 1 WHERE a BETWEEN 1 AND 2", (3, 0, 1)),
        ("SELECT a FROM t WHERE a BETWEEN 1 AND 2 AND b LIKE 'and (or'", (2, 0, 1)),
        ("SELECT sum(a) OVER (ORDER BY b), max(c) FROM t GROUP BY 1, 2", (2, 0, 3)),
        ("SELECT a FROM t WHERE b IN (SELECT c FROM u WHERE d = (SELECT 1) OR e) LIMIT 1", (2, 1, 0)),
        ("WITH c AS (SELECT a FROM t) SELECT a FROM c UNION SELECT b, d FROM t WHERE b ORDER BY 1", (1, 2, 0)),
        ("DELETE FROM t", UNREADABLE),
        ("SELECT 'a", UNREADABLE),
        ("", UNREADABLE),
    ],
)
def test_outline_counts_what_is_outside_nested_queries(sql: str, counts: tuple[int, int, int]) -> None:
    assert outline(sql) == counts


def test_paired_statistics() -> None:
    first, second = [1.0] * 50 + [0.0] * 50, [1.0] * 70 + [0.0] * 30
    found = compare_paired(first, second)
    assert found.difference == pytest.approx(0.2) and (found.only_first, found.only_second) == (0, 20)
    assert 0.1 < found.low < 0.2 < found.high < 0.3 and found.p_value == pytest.approx(2 / 2**20)
    assert compare_paired(first, first).p_value == 1.0
    assert mcnemar(5, 5) == 1.0
    with pytest.raises(ValueError, match="equal length"):
        compare_paired([1.0], [])
    low, high = wilson(50, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)
