"""Growing trees: level by level, each prompt and query once, whatever fails and whenever it is killed."""

import json
import multiprocessing
import os
import random
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.sqleval_files import make_database
from support.tree_world import GOLD, Failing, Recorded, make_world, read_rows
from text2sql.errors import UserError
from text2sql.records import Example, read_jsonl, write_jsonl
from text2sql.tree import answers, grow
from text2sql.tree.grow import build
from text2sql.tree.nodes import Tree
from text2sql.tree.verify import faults


def test_trees_are_sound_and_levels_go_to_the_generator_together(tmp_path: Path) -> None:
    options, engine = make_world(tmp_path, questions_at_once=12), Recorded()
    growth = build(options, engine)
    trees = list(read_jsonl(options.path, Tree))
    assert [fault for tree in trees for fault in faults(tree)] == []
    assert (growth.trees, growth.calls, growth.skipped) == (12, 3, {})
    assert len(engine.prompts) == len(set(engine.prompts)) == growth.asked
    wrong = [node for tree in trees for node in tree.nodes if not node.correct and node.depth < 2]
    assert wrong and all(
        any(n.parent == node.id for n in t.nodes)
        for t in trees
        for node in t.nodes
        if not node.correct and node.depth < 2
    )
    assert {node.depth for tree in trees for node in tree.nodes} == {0, 1, 2}
    one_by_one = build(replace(options, questions_at_once=1, output_dir=tmp_path / "single"), Recorded())
    assert one_by_one.calls >= 5 * growth.calls
    assert sorted(map(json.dumps, read_rows(options.path))) == sorted(
        map(json.dumps, read_rows(tmp_path / "single/trees.jsonl"))
    )


def test_feedback_says_what_the_query_gave_and_nothing_of_the_gold(tmp_path: Path) -> None:
    options = make_world(tmp_path)
    build(options, Recorded())
    told = {
        node["sql"]: node["feedback"] for row in read_rows(options.path) for node in row["nodes"] if not node["correct"]
    }
    assert told["SELECT nme FROM customer"] == "The query failed (no_such_column): no such column: nme"
    assert told["SELECT age FROM customer"] == "The query runs and returns 4 rows with 1 columns: age."
    assert told[GOLD.format("Bonn")] == "The query runs and returns no rows.\nNo row has 'Bonn' in customer.city."
    oracle = replace(options, feedback="oracle", output_dir=tmp_path / "oracle")
    build(oracle, Recorded())
    assert any("The right result has 2 rows" in n["feedback"] for row in read_rows(oracle.path) for n in row["nodes"])
    assert not any("The right result" in text for text in told.values())


def _killed_build(options: Any, place: int, half: bool) -> None:
    """Grow, and end at the ``place``-th write as SIGKILL ends a process, after half of the text where ``half``."""
    writes, real = [0], answers.append_text

    def write(path: Path, text: str) -> None:
        writes[0] += 1
        if writes[0] == place:
            if half:
                with path.open("a", encoding="utf-8") as out:
                    out.write(text[: len(text) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        real(path, text)

    answers.append_text = grow.append_text = write  # in this process alone
    build(options, Recorded())


def test_killed_at_ten_random_points_the_trees_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    options = make_world(tmp_path)
    whole = build(replace(options, output_dir=tmp_path / "whole"), Recorded())
    rng, fork, ended = random.Random(7), multiprocessing.get_context("fork"), []
    for turn in range(10):
        child = fork.Process(target=_killed_build, args=(options, rng.randint(1, 9), turn % 2 == 0))
        child.start()
        child.join()
        ended.append(child.exitcode)
    assert ended == [-signal.SIGKILL] * 10, "every run is killed before it is done"
    rest = build(options, Recorded())
    assert options.path.read_bytes() == (tmp_path / "whole/trees.jsonl").read_bytes()
    assert 0 < rest.asked < whole.asked, "what was answered is not asked again"
    assert sorted(path.name for path in options.output_dir.iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
    assert build(options, Recorded()).calls == 0


def test_what_the_generator_fails_on_is_asked_again_and_then_skipped(tmp_path: Path) -> None:
    options = make_world(tmp_path, tries=2)
    engine = Failing(failures=99)
    growth = build(options, engine)
    assert growth.skipped == {"q3": "the generator gave no answer", "q4": "the generator gave no answer"}
    assert growth.trees == 10
    assert json.loads((options.output_dir / "trees_report.json").read_text())["skipped"] == growth.skipped
    again = build(options, Recorded())
    assert (again.trees, again.skipped) == (2, {})
    assert {row["example"]["question_id"] for row in read_rows(options.path)} == {f"q{i}" for i in range(12)}
    for path in options.output_dir.glob("trees*.json*"):
        path.unlink()
    assert "q3" not in build(options, Failing(failures=1)).skipped


def test_a_generator_that_never_answers_ends_in_one_line(tmp_path: Path) -> None:
    class Dead(Recorded):
        def generate(self, requests, decoding):
            self.calls += 1
            raise UserError("no server answers")
            yield

    options, engine = make_world(tmp_path, tries=3), Dead()
    with pytest.raises(UserError, match="no server answers"):
        build(options, engine)
    assert engine.calls == 3


def test_a_gold_that_does_not_run_is_listed_and_costs_no_prompt(tmp_path: Path) -> None:
    options = make_world(tmp_path, questions=3)
    rows = list(read_jsonl(options.examples, Example))
    write_jsonl(options.examples, [replace(rows[0], sql="SELECT no FROM where"), *rows[1:]])
    engine = Recorded()
    growth = build(options, engine)
    assert list(growth.skipped) == ["q0"] and "its gold does not run" in growth.skipped["q0"]
    assert growth.trees == 2 and not any("(0)" in prompt for prompt in engine.prompts)


def test_trees_of_other_questions_are_not_continued(tmp_path: Path) -> None:
    options = make_world(tmp_path)
    build(options, Recorded())
    other = tmp_path / "other.jsonl"
    write_jsonl(other, read_jsonl(options.examples, Example))
    with pytest.raises(UserError, match="grown with other examples"):
        build(replace(options, examples=other), Recorded())


def test_limit_is_spread_over_the_questions_and_shards_share_them(tmp_path: Path) -> None:
    options = make_world(tmp_path, limit=4)
    build(options, Recorded())
    assert [row["example"]["question_id"] for row in read_rows(options.path)] == ["q0", "q3", "q6", "q9"]
    halves = [replace(options, limit=None, shard=f"{i}/2", output_dir=tmp_path / "shards") for i in (1, 2)]
    for half in halves:
        build(half, Recorded())
    ids = [{row["example"]["question_id"] for row in read_rows(half.path)} for half in halves]
    assert ids[0] | ids[1] == {f"q{i}" for i in range(12)} and not ids[0] & ids[1]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"n": 2}, "leave n out"),
        ({"temperature": 0.0}, "temperature above 0"),
        ({"experiment": "tree.build"}, "needs a profile"),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_world(tmp_path, **keys)


def test_a_missing_database_is_one_line(tmp_path: Path) -> None:
    options = make_world(tmp_path)
    make_database(tmp_path / "elsewhere/other/other.sqlite")
    with pytest.raises(UserError, match="no database for shop"):
        build(replace(options, database_root=tmp_path / "elsewhere"), Recorded())


def test_hostile_attempts_are_nodes_like_others(tmp_path: Path) -> None:
    class Hostile(Recorded):
        def answer(self, prompt, sample):
            return (
                "DROP TABLE customer",
                "ATTACH 'x' AS y",
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
            )[sample]

    options = make_world(tmp_path, questions=1, root_num=3, max_depth=0, timeout=0.5, jobs=1)
    before = (tmp_path / "database/shop/shop.sqlite").read_bytes()
    build(options, Hostile())
    nodes = read_rows(options.path)[0]["nodes"]
    assert [node["error"] for node in nodes] == ["forbidden", "forbidden", "timeout"]
    assert (tmp_path / "database/shop/shop.sqlite").read_bytes() == before
