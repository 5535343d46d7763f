"""The command ``text2sql tree``: what it prints, and its exit codes."""

import json
from pathlib import Path

import pytest
import yaml

from support.tree_world import Recorded, make_world, read_rows
from text2sql.errors import run_command
from text2sql.records import write_jsonl
from text2sql.tree.__main__ import app
from text2sql.tree.grow import build


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    options = make_world(tmp_path)
    build(options, Recorded())
    keys = (
        "model_name_or_path",
        "examples",
        "database_root",
        "output_dir",
        "root_num",
        "sample_num",
        "temperature",
        "jobs",
    )
    values = {key: getattr(options, key) for key in keys}
    path = tmp_path / "tree.yaml"
    path.write_text(
        yaml.safe_dump({k: str(v) if isinstance(v, Path) else v for k, v in values.items()}), encoding="utf-8"
    )
    return path


def test_verify_ends_with_1_where_something_differs(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_command(app, args=["verify", str(recipe)])
    assert "12 trees" in capsys.readouterr().out
    trees = recipe.parent / "trees/trees.jsonl"
    rows = read_rows(trees)
    rows[0]["nodes"][0]["correct"] = not rows[0]["nodes"][0]["correct"]
    write_jsonl(trees, rows)
    with pytest.raises(SystemExit) as ended:
        run_command(app, args=["verify", str(recipe)])
    assert ended.value.code == 1
    assert json.loads((recipe.parent / "trees/verification_report.json").read_text())["mismatches"] > 0


@pytest.mark.parametrize("command", ["pairs", "lessons"])
def test_what_a_recipe_lacks_is_one_line(recipe: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(app, args=[command, str(recipe)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip() == f"error: the recipe has no {command}; see recipes/tiny/tree.yaml"


def test_pairs_and_lessons_are_written(recipe: Path) -> None:
    folder = recipe.parent
    run_command(app, args=["pairs", str(recipe), f"pairs.output_dir={folder / 'p'}", "pairs.held_out=0"])
    run_command(app, args=["lessons", str(recipe), f"lessons.output_dir={folder / 'l'}", "lessons.held_out=1"])
    assert read_rows(folder / "p/ranking_train.jsonl") and read_rows(folder / "l/sft_val.jsonl")
