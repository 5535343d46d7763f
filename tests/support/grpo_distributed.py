"""GRPO on two processes through the script that users start, and what two such runs must have in common."""

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.grpo_world import recipe

ROOT = Path(__file__).parents[2]
FULL = {"finetuning_type": "full", "learning_rate": 1e-3}
SAME = ("reward", "reward_std", "rewards/letters/mean", "rewards/letters/std", "completions/mean_length", "sql/ran")


def train(world: Path, name: str, changes: dict[str, Any]) -> Path:
    """Run two processes; returns the output folder."""
    out = world / name
    given = recipe(world) | {
        "per_device_train_batch_size": 4,
        "reward_funcs": ["execution", "their_rewards:letters"],
        "beta": 0.05,
        "max_steps": 3,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "eval_samples": 3,
        "per_device_eval_batch_size": 2,
        "max_grad_norm": 0.5,
        "output_dir": str(out),
        **changes,
    }
    path = world / f"{name}.yaml"
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"NPROC_PER_NODE": "2", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(world)}
    done = subprocess.run(
        ["bash", "scripts/grpo_train.sh", str(path)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return out


def rows(out: Path, key: str = "loss") -> list[dict[str, Any]]:
    state = json.loads((out / "trainer_state.json").read_text(encoding="utf-8"))
    return [row for row in state["log_history"] if key in row]


def weights(out: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(next(out.glob("*.safetensors")))


def same_training(plain: Path, out: Path) -> None:
    """Rewards, losses and weights of ``out`` are those of ``plain``."""
    found, wanted = rows(out), rows(plain)
    assert [row["step"] for row in found] == [1, 2, 3]
    for row, twin in zip(found, wanted, strict=True):
        assert {key: row[key] for key in SAME} == pytest.approx({key: twin[key] for key in SAME}, abs=1e-6)
        assert row["loss"] == pytest.approx(twin["loss"], abs=2e-4)
        assert row["kl"] == pytest.approx(twin["kl"], abs=2e-4)
        assert row["grad_norm"] == pytest.approx(twin["grad_norm"], rel=2e-2)
    assert rows(out, "eval_execution_accuracy")[0]["eval_reward"] == pytest.approx(
        rows(plain, "eval_execution_accuracy")[0]["eval_reward"], abs=1e-6
    )
    mine, theirs = weights(out), weights(plain)
    if "lm_head.weight" not in theirs and "lm_head.weight" in mine:  # ZeRO's copy of tied embeddings is saved as well
        assert (mine.pop("lm_head.weight") == mine["model.embed_tokens.weight"]).all()
    assert mine.keys() == theirs.keys()
    assert max(float((mine[name] - theirs[name]).abs().max()) for name in mine) < 2e-3
