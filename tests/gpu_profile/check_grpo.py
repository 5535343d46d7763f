"""A GRPO step of the tiny base where vLLM is installed, for TRL then imports it and this torch is not that of CPUs."""

import sys
from pathlib import Path

import pytest
from profile_recipes import NO_EVALUATION, ON_CPU, finish, history, train_by_command
from safetensors.torch import load_file

STEP = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 64,
    "cutoff_len": 512,
    "max_steps": 1,
    "warmup_steps": 0,
    "max_samples": 16,
    "reward_jobs": 1,
    "eval_on_start": False,
    "bf16": False,
}


@pytest.mark.parametrize("name", ["grpo_execution"])
def test_a_step(name: str, base: Path, toy: Path, tmp_path: Path) -> None:
    output, log = tmp_path / "out", tmp_path / "train.log"
    places = {"model_name_or_path": base, "dataset_dir": toy, "database_root": toy / "database", "output_dir": output}
    given = places | {"dataset": "toy_train_grpo"} | ON_CPU | NO_EVALUATION | STEP
    finish(train_by_command(name, given, log), log)
    (step,) = history(output)
    assert 0 <= step["rewards/execution/mean"] <= 1
    assert step["completions/mean_length"] > 0
    adapter = load_file(output / "adapter_model.safetensors")
    moved = any(bool(tensor.any()) for name, tensor in adapter.items() if "lora_B" in name)
    assert moved or step["reward_std"] == 0, "rewards that differ move the weights"
    sys.stdout.write(f"{name}: {step}\n")
