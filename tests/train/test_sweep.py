"""A sweep trains every combination once, ranks the runs, and survives a run that fails."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.parallel_runs import ROOT, make_world
from text2sql.artifacts import write_json
from text2sql.errors import UserError
from text2sql.train import sweep as module
from text2sql.train.sweep import folder_name, read_grid, sweep


def test_commas_make_a_grid_and_brackets_a_list() -> None:
    given = ["learning_rate=1e-4,2e-4,1e-4", "seed=7", "lora_target=all,[q_proj,v_proj]", "dataset=[a,b]"]
    fixed, axes = read_grid(given)
    assert fixed == ["seed=7", "dataset=[a,b]"]
    assert axes == {"learning_rate": ["1e-4", "2e-4"], "lora_target": ["all", "[q_proj,v_proj]"]}
    assert folder_name({"learning_rate": "1e-4", "lora_target": "[q_proj,v_proj]"}) == (
        "learning_rate-1e-4_lora_target-q_proj-v_proj"
    )
    assert "/" not in folder_name({"model_name_or_path": "../models/x"})


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    keys = {"eval_strategy": "steps", "output_dir": str(tmp_path / "out"), "metric_for_best_model": "eval_loss"}
    path.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "nothing varies; give a key several values"),
        (["seed=1"], "nothing varies"),
        (["seed=1,2", "seed=3"], "seed is given twice"),
        (["seed=1,2", "seed=3,4"], "each key once"),
        (["seed=1,,2"], "without empty values"),
        (["output_dir=a,b"], "output_dir has one value"),
        (["seed=1,2", "sed"], "an override is written key=value"),
        (["run_name=a b,a/b"], "run_name-a-b: two combinations would have this folder"),
        (["seed=1,2", "eval_strategy=no"], "this recipe never evaluates; set eval_strategy"),
        (["seed=1,2", "output_dir=null"], "output_dir is missing"),
        (["seed=1,2"], "model_name_or_path is missing"),
    ],
)
def test_mistakes_end_in_one_line(overrides: list[str], words: str, recipe: Path) -> None:
    with pytest.raises(UserError) as caught:
        sweep(recipe, overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def ended(recipe: dict[str, Any], scores: dict[int, list[float]], key: str) -> None:
    """What a run leaves: its note, and unless it failed the trainer's state."""
    out = Path(recipe["output_dir"])
    write_json(out / "run.json", {})
    if not scores[recipe["seed"]]:
        raise UserError("it ran out of memory")
    log = [{"step": 10 * i, key: score} for i, score in enumerate(scores[recipe["seed"]], 1)]
    write_json(out / "trainer_state.json", {"log_history": [{"loss": 1.0}, *log]})


@pytest.mark.parametrize(
    ("keys", "metric", "order", "steps"),
    [
        ([], "eval_loss", ["2", "1", "3", "4"], [20, 30, None, 10]),
        (
            ["metric_for_best_model=execution_accuracy"],
            "eval_execution_accuracy",
            ["1", "2", "3", "4"],
            [10, 10, None, 10],
        ),
    ],
)
def test_runs_are_ranked_by_their_best_evaluation(
    keys: list[str], metric: str, order: list[str], steps: list, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {1: [0.9, 0.5, 0.4], 2: [0.8, 0.3, 0.6], 3: [], 4: [float("nan")]}
    monkeypatch.setattr(module, "train_recipe", lambda given, _: ended(given, scores, metric))
    with pytest.raises(UserError, match=r"1 of 4 runs failed, .*seed-3: it ran out of memory"):
        sweep(recipe, ["seed=1,2,3,4", *keys])
    rows = list(csv.DictReader((recipe.parent / "out/sweep.csv").open(encoding="utf-8")))
    assert [row["seed"] for row in rows] == order
    assert [row["step"] for row in rows] == [str(step or "") for step in steps]
    assert list(rows[0]) == ["seed", metric, "step", "error", "output_dir"]
    saved = json.loads((recipe.parent / "out/sweep.json").read_text(encoding="utf-8"))
    assert [row["seed"] for row in saved] == order


@pytest.mark.slow
def test_real_runs_are_made_once_and_more_can_be_added(tmp_path: Path) -> None:
    keys = [*make_world(tmp_path, 6, 3), "eval_dataset=rows", "eval_strategy=steps", "eval_steps=3"]
    command = [sys.executable, "-m", "text2sql", "sweep", "recipes/tiny/lora_all_sft.yaml", *keys]

    def run(rates: str) -> tuple[str, list[dict[str, str]]]:
        given = [*command, f"output_dir={tmp_path / 'out'}", f"learning_rate={rates}"]
        done = subprocess.run(given, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout + done.stderr, list(csv.DictReader((tmp_path / "out/sweep.csv").open(encoding="utf-8")))

    # make_world's own learning_rate would be a second value of the key that varies
    command.remove("learning_rate=1e-3")
    said, rows = run("1e-9,2e-3")
    assert [row["learning_rate"] for row in rows] == ["2e-3", "1e-9"]
    assert float(rows[0]["eval_loss"]) < float(rows[1]["eval_loss"])
    assert "best first, by eval_loss" in said and "run 2 of 2: learning_rate=2e-3" in said
    said, more = run("1e-9,2e-3,5e-3")
    assert said.count("already trained") == 2
    assert [row for row in more if row["learning_rate"] != "5e-3"] == rows
