"""Optimizer steps of the tiny base with liger's kernels, interpreted on the CPU, against the same steps without liger."""

from pathlib import Path
from typing import Any

import pytest
from profile_recipes import (
    NO_EVALUATION,
    ON_CPU,
    ONE_STEP,
    by_stage,
    finish,
    history,
    interpreted,
    read,
    train_all,
    train_by_command,
)
from safetensors.torch import load_file

# The recipes on other data train in the same ways.
RECIPES = [n for n in by_stage("sft") if read(n).get("enable_liger_kernel") and read(n)["dataset"] == "spider_train"]
BY_COMMAND = ("lora_all_sft", True)  # this one is started as a user starts it
CASES = [(recipe, packed) for recipe in RECIPES for packed in (True, False)]


def changed(base: Path, rows: Path, output: Path, packed: bool) -> dict[str, Any]:
    given = {"model_name_or_path": str(base), "dataset_dir": str(rows), "output_dir": str(output), "bf16": False}
    given |= ONE_STEP | ON_CPU | NO_EVALUATION
    # Six layers in an interpreter; recomputing them in the backward pass would take half as long again.
    given["disable_gradient_checkpointing"] = True
    return given if packed else given | {"packing": False, "neat_packing": False, "per_device_train_batch_size": 2}


def folder(root: Path, liger: bool, recipe: str, packed: bool) -> Path:
    return root / f"{recipe}-{'packed' if packed else 'padded'}-{'liger' if liger else 'plain'}"


@pytest.fixture(scope="module")
def trained(base: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every recipe, packed and not, with liger and without: two processes, for liger's changes last as long as one."""
    root = tmp_path_factory.mktemp("liger")
    started = []
    for liger in (True, False):
        jobs = []
        for recipe, packed in CASES:
            output = folder(root, liger, recipe, packed)
            if not liger or (recipe, packed) != BY_COMMAND:
                jobs.append(read(recipe) | changed(base, rows, output, packed) | {"enable_liger_kernel": liger})
        log = root / f"liger-{liger}.log"
        started.append((train_all(jobs, log, **(interpreted() if liger else {})), log))
    recipe, packed = BY_COMMAND
    overrides = changed(base, rows, folder(root, True, recipe, packed), packed)
    started.append((train_by_command(recipe, overrides, root / "command.log", **interpreted()), root / "command.log"))
    for process, log in started:
        finish(process, log)
    return root


@pytest.mark.parametrize(("recipe", "packed"), CASES)
def test_a_step_with_liger_is_a_step_without(recipe: str, packed: bool, trained: Path, base: Path) -> None:
    outputs = [folder(trained, liger, recipe, packed) for liger in (True, False)]
    (liger,), (plain,) = (history(output) for output in outputs)
    assert liger["loss"] == plain["loss"], "logged with four decimals"
    assert liger["grad_norm"] == pytest.approx(plain["grad_norm"], rel=1e-3)
    assert liger["learning_rate"] > 0
    for output in outputs:
        assert moved(output, base), "the step changed the weights"


def moved(output: Path, base: Path) -> bool:
    adapter = output / "adapter_model.safetensors"
    if adapter.is_file():
        second = {name: tensor for name, tensor in load_file(adapter).items() if "lora_B" in name}
        assert second
        return all(bool(tensor.any()) for tensor in second.values())
    before, after = load_file(base / "model.safetensors"), load_file(output / "model.safetensors")
    return all(not before[name].equal(after[name]) for name in before)


def test_liger_was_in_force(trained: Path) -> None:
    for log, runs in (("liger-True", len(CASES) - 1), ("liger-False", 0)):
        text = (trained / f"{log}.log").read_text(encoding="utf-8")
        assert text.count("Liger kernel has been applied") == runs
