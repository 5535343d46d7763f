"""The planner's command, and its estimates of the repository's recipes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from text2sql.plan.estimate import Estimate, estimate
from text2sql.recipe import load_recipe

ROOT = Path(__file__).parents[2]
LARGE = sorted(ROOT.glob("recipes/qwen3_1p7b/*.yaml"))
FULL = ROOT / "recipes/qwen3_1p7b/full_sft.yaml"


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("USE_MCA", raising=False)


@pytest.mark.parametrize(
    "recipe", sorted(ROOT.glob("recipes/*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_training_recipe_can_be_planned(recipe: Path, tmp_path: Path) -> None:
    values = {**load_recipe(recipe, []), "dataset_dir": str(tmp_path), "global_batch": None}
    if "stage" not in values:
        pytest.skip("trains nothing")
    values["model_name_or_path"] = "models/tiny-base" if recipe.parent.name == "tiny" else "models/Qwen3-1.7B"
    assert 0 < estimate(values, recipe, 6).peak < 80e9


def claims(recipe: Path) -> dict[str, str]:
    """Hardware and Memory of a recipe's header, each in one line."""
    text = re.sub(r"\n#   +", " ", recipe.read_text(encoding="utf-8"))
    return {key: re.search(rf"^# {key} +(.*)$", text, re.MULTILINE)[1] for key in ("Hardware", "Memory")}  # type: ignore[index]


@pytest.mark.parametrize("recipe", [p for p in LARGE if "stage" in load_recipe(p, [])], ids=lambda path: path.stem)
def test_recipes_fit_the_memory_that_their_headers_name(recipe: Path, tmp_path: Path) -> None:
    def planned(gpus: int, *keys: str) -> Estimate:
        values = {**load_recipe(recipe, [*keys, f"dataset_dir={tmp_path}"]), "model_name_or_path": "models/Qwen3-1.7B"}
        return estimate(values, recipe, gpus)

    said = claims(recipe)
    gpus, size = re.match(r"(\d+) (?:NVIDIA )?GPUs? with bf16 (?:\(.*?\) )?and (\d+) GB", said["Hardware"]).groups()  # type: ignore[union-attr]
    found = {int(gpus): int(size)}
    found |= {int(gpus): int(size) for gpus, size in re.findall(r"or (\d+) with (\d+) GB", said["Hardware"])}
    for number, memory in found.items():
        assert planned(number).fits(memory), number
    for memory, keys in re.findall(r"(\d+) GB with ((?:\w+=\S+ ?)+)", said["Hardware"]):
        assert planned(int(gpus), *keys.split()).fits(int(memory)), keys
    peaks = {"": int(gpus)} | {f" on {word}": number for word, number in (("one", 1), ("two", 2), ("four", 4))}
    figures = re.findall(r"(\d+) GB(?: a GPU)?( on \w+)?", said["Memory"].partition(" (")[0])
    assert figures
    for figure, on in figures:
        assert planned(peaks[on]).peak / 1e9 == pytest.approx(int(figure), abs=0.6)


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "text2sql.plan", str(FULL), "--memory", "24", "dataset_dir=" + str(tmp_path)]
    fits = subprocess.run([*command, "--gpus", "4"], capture_output=True, text=True, cwd=ROOT)
    assert (fits.returncode, fits.stderr) == (0, "")
    for words in ("1,720,574,976", "data 4 x tensor 1", "optimizer", "evaluation", "peak", "Fits", "not prepared"):
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
