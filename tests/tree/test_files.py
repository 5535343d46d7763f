"""What is made of trees: verification, merging, pairs and lessons as LLaMA-Factory reads them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.tree_world import Recorded, make_world, read_rows
from text2sql.errors import UserError
from text2sql.ledger import read as read_ledger
from text2sql.prompts import ask, feedback_on, revise
from text2sql.recipe import load_recipe, options_from
from text2sql.records import Example, write_jsonl
from text2sql.tree.export import export_lessons, export_pairs, split_databases
from text2sql.tree.grow import build
from text2sql.tree.options import LessonOptions, PairOptions, TreeOptions
from text2sql.tree.summary import summarize
from text2sql.tree.verify import merge, verify

ROOT = Path(__file__).parents[2]


@pytest.fixture
def grown(tmp_path: Path) -> TreeOptions:
    options = make_world(tmp_path)
    build(options, Recorded())
    return options


def test_verification_runs_everything_again_and_finds_nothing(grown: TreeOptions) -> None:
    report = verify(grown)
    assert report["mismatches"] == 0
    assert report["nodes"] == sum(len(row["nodes"]) for row in read_rows(grown.path))
    assert json.loads((grown.output_dir / "verification_report.json").read_text()) == report


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("distance", 7, "distance 7"),
        ("correct", True, "correct is True, executed again False"),
        ("error", "timeout", "error is 'timeout'"),
        ("result", "0", "result is '0'"),
        ("depth", 5, "depth 5"),
        ("parent", "9", "its parent is 9"),
        ("id", "1", "two nodes 1"),
    ],
)
def test_verification_finds_what_was_changed(grown: TreeOptions, key: str, value: Any, said: str) -> None:
    rows = read_rows(grown.path)
    row = next(row for row in rows if not row["nodes"][0]["correct"] and row["nodes"][0]["error"] is None)
    row["nodes"][0][key] = value
    write_jsonl(grown.path, rows)
    report = verify(grown)
    assert report["mismatches"] and any(said in line for line in report["first"])


def test_shards_are_joined_and_overlaps_refused(tmp_path: Path) -> None:
    options = make_world(tmp_path)
    halves = [replace(options, shard=f"{i}/2") for i in (1, 2)]
    for half in halves:
        build(half, Recorded())
    assert merge([half.path for half in halves], options.path) == 12
    assert verify(options)["mismatches"] == 0
    assert build(options, Recorded()).trees == 0, "a joined file counts as grown"
    with pytest.raises(UserError, match="has a tree of q0, as"):
        merge([halves[0].path, halves[0].path], tmp_path / "twice.jsonl")
    (tmp_path / "strange.jsonl").write_bytes(halves[1].path.read_bytes())
    with pytest.raises(UserError, match="not grown as"):
        merge([halves[0].path, tmp_path / "strange.jsonl"], tmp_path / "strange_joined.jsonl")
    assert not (tmp_path / "twice.jsonl").exists()


def test_pairs_are_ranking_rows_through_the_one_prompt(grown: TreeOptions, tmp_path: Path) -> None:
    options = replace(grown, pairs=PairOptions(output_dir=tmp_path / "pairs", held_out=0.0, balance="none"))
    counts = export_pairs(options)
    rows = read_rows(tmp_path / "pairs/ranking_train.jsonl")
    assert counts == {"train": len(rows), "val": 0} and rows
    example = Example(**read_rows(grown.path)[0]["example"])
    own = [row for row in rows if row["question_id"] == example.question_id]
    assert own and all(row["messages"] == ask(example) for row in own)
    nearest: dict[str, float] = {}
    for node in read_rows(grown.path)[0]["nodes"]:
        far = float("inf") if node["distance"] is None else node["distance"]
        nearest[node["sql"]] = min(far, nearest.get(node["sql"], far))
    assert all(nearest[row["chosen"]["content"]] < nearest[row["rejected"]["content"]] for row in own)
    info = json.loads((tmp_path / "pairs/dataset_info.json").read_text())["pairs_train_ranking"]
    assert info["ranking"] and info["columns"] == {"messages": "messages", "chosen": "chosen", "rejected": "rejected"}


def test_databases_are_held_out_whole() -> None:
    names = [f"db{i}" for i in range(10)]
    held = split_databases([*names, *names], 0.2, seed=1)
    assert (
        len(held) == 2 and held == split_databases(names, 0.2, seed=1) and held != split_databases(names, 0.2, seed=5)
    )
    assert split_databases(names, 0.0, 1) == set() and split_databases(names, 1.0, 1) == set(names)


def test_lessons_teach_the_gold_after_own_mistakes_and_changed_golds(grown: TreeOptions, tmp_path: Path) -> None:
    wanted = LessonOptions(output_dir=tmp_path / "lessons", own=1, mutants=1, plain=0.5, held_out=0.0)
    counts = export_lessons(replace(grown, lessons=wanted))
    rows = read_rows(tmp_path / "lessons/sft_train.jsonl")
    told = [row for row in rows if "[FEEDBACK]" in row["messages"][1]["content"]]
    assert counts["train"] == len(rows) == 2 * len(told)
    answers = {row["messages"][-1]["content"] for row in rows}
    assert answers == {tree["example"]["sql"] for tree in read_rows(grown.path)}
    own = {node["sql"] for tree in read_rows(grown.path) for node in tree["nodes"]}
    shown = {
        row["messages"][1]["content"].partition("[PREVIOUS SQL]\n")[2].partition("\n\n[FEEDBACK]")[0] for row in told
    }
    assert shown & own and shown - own, "both the model's mistakes and changed golds"
    assert not any(f"SQL]\n{row['messages'][-1]['content']}\n" in row["messages"][1]["content"] for row in told)
    again = replace(grown, lessons=replace(wanted, output_dir=tmp_path / "again"))
    export_lessons(again)
    assert (tmp_path / "again/sft_train.jsonl").read_bytes() == (tmp_path / "lessons/sft_train.jsonl").read_bytes()


def test_a_revision_has_the_prompt_of_the_question_in_front() -> None:
    example = Example("q", "shop", "who?", "CREATE TABLE t (a)", "SELECT a FROM t", values="t.a: 1")
    system, user = revise(example, "SELECT b FROM t", "no such column", system="Be brief.")
    assert system["content"] == "Be brief."
    first = ask(example)[1]["content"]
    assert user["content"] == f"{first}\n\n[PREVIOUS SQL]\nSELECT b FROM t\n\n[FEEDBACK]\nno such column"


def test_feedback_tells_results_by_their_shape() -> None:
    from sqleval import Rows

    assert feedback_on(Rows(("a",), [(None,)])) == "The query runs and returns nothing but NULL."
    assert "secret" not in feedback_on(Rows(("a", "b"), [("secret", 1)]), (), None)


def test_the_summary_counts_and_leaves_a_row(grown: TreeOptions, tmp_path: Path) -> None:
    options = replace(
        grown, experiment="tree.build", profile="tiny", ledger=tmp_path / "ledger.jsonl", output_dir=tmp_path / "new"
    )
    found = summarize(options, build(options, Recorded()))
    (row,) = read_ledger(tmp_path / "ledger.jsonl")
    assert row.metrics == found and row.n == 12
    assert 0 < found["repaired"] <= 1 and 0 < found["revisions_right"] < 1


@pytest.mark.parametrize("profile", ["tiny", "qwen3_1p7b"])
def test_recipes_are_known_to_the_options(profile: str) -> None:
    recipe = load_recipe(ROOT / f"recipes/{profile}/tree.yaml", [])
    other = load_recipe(ROOT / "recipes/tiny/tree.yaml", [])
    options = options_from(TreeOptions, recipe, "tree.yaml")
    assert options.pairs and options.lessons
    assert {key: recipe[key] for key in ("sample_num", "max_depth", "feedback")} == {
        key: other[key] for key in ("sample_num", "max_depth", "feedback")
    }
    with pytest.raises(UserError, match="did you mean 'max_depth'"):
        options_from(TreeOptions, {**recipe, "maxdepth": 1}, "tree.yaml")


def test_without_trees_every_command_says_how_to_grow_some(tmp_path: Path) -> None:
    options = make_world(
        tmp_path, pairs=PairOptions(output_dir=tmp_path / "p"), lessons=LessonOptions(output_dir=tmp_path / "l")
    )
    for command in (export_pairs, export_lessons, verify):
        with pytest.raises(UserError, match="build_revision_tree"):
            command(options)
