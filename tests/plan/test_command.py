"""The planner's command, and its estimates of the repository's recipes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from text2sql.plan.estimate import estimate
from text2sql.recipe import load_recipe

ROOT = Path(__file__).parents[2]
FULL = ROOT / "recipes/qwen3_1p7b/full_sft.yaml"


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("USE_MCA", raising=False)


@pytest.mark.parametrize(
    "recipe", sorted(ROOT.glob("recipes/*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_training_recipe_can_be_planned(recipe: Path, tmp_path: Path) -> None:
    values = {**load_recipe(recipe, []), "dataset_dir": str(tmp_path)}
    if "stage" not in values:
        pytest.skip("trains nothing")
    values["model_name_or_path"] = "models/tiny-base" if recipe.parent.name == "tiny" else "models/Qwen3-1.7B"
    assert 0 < estimate(values, recipe, 6).peak < 80e9


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "text2sql.plan", str(FULL), "--memory", "24", "dataset_dir=" + str(tmp_path)]
    fits = subprocess.run([*command, "--gpus", "4"], capture_output=True, text=True, cwd=ROOT)
    assert (fits.returncode, fits.stderr) == (0, "")
    for words in ("1,720,574,976", "data 4 x tensor 1", "optimizer", "peak", "Fits", "not prepared"):
        assert words in fits.stdout
    too_much = subprocess.run([*command, "--gpus", "1"], capture_output=True, text=True, cwd=ROOT)
    assert too_much.returncode == 1
    assert "Does not fit" in too_much.stdout
    assert "finetuning_type=lora" in too_much.stdout
    wrong = subprocess.run([*command, "model_name_or_path=models/x"], capture_output=True, text=True, cwd=ROOT)
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1
    untrained = subprocess.run([*command[:3], "recipes/tiny/infer.yaml"], capture_output=True, text=True, cwd=ROOT)
    assert untrained.returncode == 2
    assert "infer.yaml: no training recipe" in untrained.stderr
    cpu = [sys.executable, "-m", "text2sql.plan", "recipes/tiny/full_sft.yaml"]
    wrong = subprocess.run(cpu, env=os.environ | {"NPROC_PER_NODE": "two"}, capture_output=True, text=True, cwd=ROOT)
    assert (wrong.returncode, wrong.stderr) == (2, "error: NPROC_PER_NODE=two: a whole number from 1 on is needed\n")
