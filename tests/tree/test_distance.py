"""Distances of attempts and the pairs that follow from them."""

from dataclasses import replace
from pathlib import Path

import pytest

from text2sql.records import Example
from text2sql.tree.nodes import Node, Tree, distances, measured
from text2sql.tree.options import PairOptions
from text2sql.tree.pairs import deepest_correct, take_pairs

OPTIONS = PairOptions(output_dir=Path("none"), balance="none", per_question=99, max_length_ratio=9.0)


def node(place: str, correct: bool = False, sql: str = "", result: str = "") -> Node:
    parent = place.rpartition(".")[0] or None
    sql = sql or f"SELECT c{place.replace('.', '_')} FROM t"
    return Node(place, parent, place.count("."), sql, sql, 1, correct, None, "", result or place)


def tree(*nodes: Node, difficulty: str = "easy", question: str = "q", db_id: str = "shop") -> Tree:
    return Tree(Example(question, db_id, "who?", "", "SELECT 1", difficulty=difficulty), measured(nodes))


GROWN = tree(node("0"), node("1"), node("0.0"), node("0.1", True), node("1.0"), node("0.0.0", True), node("1.0.0"))


def test_distance_is_one_more_than_the_nearest_revision() -> None:
    assert distances(GROWN.nodes) == {
        "0": 1, "1": None, "0.0": 1, "0.1": 0, "1.0": None, "0.0.0": 0, "1.0.0": None,
    }  # fmt: skip


def test_a_right_root_needs_no_revision_and_a_deep_one_counts_every_step() -> None:
    assert distances([node("0", True)]) == {"0": 0}
    chain = [node("0"), node("0.0"), node("0.0.0"), node("0.0.0.0", True)]
    assert distances(chain) == {"0": 3, "0.0": 2, "0.0.0": 1, "0.0.0.0": 0}


def places(pairs) -> set[tuple[str, str]]:
    return {(pair.chosen.id, pair.rejected.id) for pair in pairs}


def test_pairs_are_of_near_attempts_and_of_any_hopeful_over_any_hopeless_one() -> None:
    found = places(take_pairs([GROWN], OPTIONS))
    near = {("0.1", "0"), ("0.1", "0.0"), ("0.0.0", "0.0")}
    hopeless = {(a, b) for a in ("0", "0.0", "0.1", "0.0.0") for b in ("1", "1.0", "1.0.0")}
    assert found == near | hopeless
    assert {pair.gap for pair in take_pairs([GROWN], OPTIONS)} == {"1", "inf"}


def test_right_over_wrong_comes_first_when_a_question_has_a_cap() -> None:
    pairs = take_pairs([GROWN], replace(OPTIONS, per_question=4))
    assert all(pair.chosen.correct and pair.gap == "inf" for pair in pairs)


def test_equal_texts_and_equal_results_make_one_pair_and_none_with_itself() -> None:
    one, same = "SELECT name FROM customer WHERE age > 3", "select name from Customer where AGE > 3"
    grown = tree(
        node("0", True, one), node("1", True, same, "0"), node("2"), node("3", result="2"), node("4", result="0")
    )
    pairs = take_pairs([grown], OPTIONS)
    assert [(pair.chosen.id, pair.rejected.result) for pair in pairs] == [("0", "2")]


def test_length_decides_what_is_left_out() -> None:
    grown = tree(node("0", True), node("1", sql="SELECT " + ", ".join(f"c{i}" for i in range(60)) + " FROM t"))
    assert take_pairs([grown], replace(OPTIONS, max_length_ratio=2.0)) == []
    assert take_pairs([grown], replace(OPTIONS, max_length_ratio=99.0, max_chars=100)) == []
    assert len(take_pairs([grown], replace(OPTIONS, max_length_ratio=99.0))) == 1


def test_balance_cuts_what_is_frequent() -> None:
    easy = [tree(node("0", True), node("1"), question=f"e{i}") for i in range(20)]
    hard = [tree(node("0", True), node("1"), question=f"h{i}", difficulty="hard") for i in range(2)]
    levels = [p.example.difficulty for p in take_pairs([*easy, *hard], replace(OPTIONS, balance="difficulty"))]
    assert (levels.count("easy"), levels.count("hard")) == (20, 2)
    extra = [tree(node("0", True), node("1"), question=f"x{i}", difficulty="extra") for i in range(2)]
    levels = [p.example.difficulty for p in take_pairs([*easy, *hard, *extra], replace(OPTIONS, balance="difficulty"))]
    assert (levels.count("easy"), levels.count("hard"), levels.count("extra")) == (16, 2, 2)


def test_the_published_baseline_is_there_by_name() -> None:
    assert {(a.id, b.id) for a, b in deepest_correct(GROWN.nodes)} == {("0.0.0", "0"), ("0.0.0", "1")}
    assert places(take_pairs([GROWN], replace(OPTIONS, strategy="deepest_correct"))) == {("0.0.0", "0"), ("0.0.0", "1")}


@pytest.mark.parametrize("right", [False, True])
def test_a_tree_of_one_kind_of_attempt_gives_no_pairs(right: bool) -> None:
    assert take_pairs([tree(node("0", right), node("1", right))], OPTIONS) == []
