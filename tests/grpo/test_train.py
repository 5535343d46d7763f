"""Real GRPO runs of a random model: what is asked for arrives, is logged, saved, learnt, and survives kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.grpo_world import GOLD, make_world, recipe
from support.tiny_model import SCHEMA, make_adapter

pytest.importorskip("trl")
ROOT = Path(__file__).parents[2]
STEPS = 24
pytestmark = pytest.mark.slow
LOGGED = (
    "loss reward reward_std kl entropy grad_norm zero_variance_groups rewards/execution/mean rewards/execution/std "
    "rewards/letters/mean rewards/letters/std rewards/letters/failed completions/mean_length completions/clipped_ratio "
    "clip_ratio/region_mean sql/ran sql/matched time/step time/generation time/reward time/update time/reward_share"
).split()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grpo")
    make_world(folder)
    sampling = {"do_sample": True, "top_k": 1, "temperature": 0.01}  # would leave each group with one answer
    path = folder / "model/generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | sampling), encoding="utf-8")
    return folder


@pytest.fixture
def run(world: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], Any]:
    """Run a recipe as the command line does, in this process; returns the trainer."""
    import torch
    from llamafactory.hparams import parser
    from llamafactory.train import tuner

    from text2sql.grpo import workflow
    from text2sql.llamafactory import register

    monkeypatch.syspath_prepend(world)
    monkeypatch.setattr(tuner, "_training_function", tuner._training_function)
    for name in ("_TRAIN_ARGS", "_INFER_ARGS", "_EVAL_ARGS", "_TRAIN_MCA_ARGS"):
        monkeypatch.setattr(parser, name, list(getattr(parser, name)))
    made = []

    class Kept(workflow.CustomGRPOTrainer):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            made.append(self)

    monkeypatch.setattr(workflow, "CustomGRPOTrainer", Kept)
    register()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in the same order as in the processes that this is compared with

    def go(given: dict[str, Any]):
        tuner.run_exp(dict(given))
        return made[-1]

    yield go
    torch.set_num_threads(threads)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(next(folder.glob("*.safetensors")))


def test_a_lora_run_logs_everything_and_keeps_the_best(world: Path, run, tmp_path: Path) -> None:
    seen = tmp_path / "seen.jsonl"
    given = recipe(world) | {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 3,
        "temperature": 0.9,
        "beta": 0.05,
        "reward_funcs": ["execution", "their_rewards:letters", "their_rewards:Seen"],
        "reward_weights": {"execution": 2, "letters": 3, "Seen": 0},
        "reward_params": {"Seen": {"path": str(seen)}},
        "eval_on_start": True,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "eval_samples": 5,
        "per_device_eval_batch_size": 2,
        "save_strategy": "steps",
        "save_steps": 1,
        "load_best_model_at_end": True,
        "metric_for_best_model": "reward",
    }
    trainer = run(given)
    rows = trainer.state.log_history
    steps, evaluations = [r for r in rows if "loss" in r], [r for r in rows if "eval_reward" in r]
    assert [row["step"] for row in steps] == [1, 2, 3]
    for row in steps:
        assert not [key for key in LOGGED if key not in row]
        assert row["zero_variance_groups"] == row["frac_reward_zero_std"] == 0, "the model's top_k=1 leaked in"
        assert row["reward"] == pytest.approx(3 * row["rewards/letters/mean"])
    assert [row["step"] for row in evaluations] == [0, 1, 2, 3, 3]
    assert all("eval_execution_accuracy" in row for row in evaluations)
    best = max(row["eval_reward"] for row in evaluations[1:4])
    assert trainer.state.best_metric == best == evaluations[-1]["eval_reward"]
    kept, final = weights(Path(trainer.state.best_model_checkpoint)), weights(tmp_path / "out")
    assert all((kept[name] == final[name]).all() for name in final)

    assert (trainer.temperature, trainer.beta, trainer.num_generations) == (0.9, 0.05, 4)
    assert trainer.generation_config.temperature == 0.9
    assert trainer.reward_weights.tolist() == [2, 3, 0]
    prompt, completion, tokens, example = json.loads(seen.read_text(encoding="utf-8").splitlines()[0])
    assert example["question"] in prompt
    assert (example["db_id"], example["sql"], example["schema"]) == ("shop", GOLD, SCHEMA)
    assert isinstance(completion, str)
    assert 0 < tokens <= 8


def test_a_full_run_trains_all_weights(world: Path, run, tmp_path: Path) -> None:
    trainer = run(recipe(world) | {"finetuning_type": "full", "beta": 0.05, "output_dir": str(tmp_path)})
    before, after = weights(world / "model"), weights(tmp_path)
    assert not (before["model.layers.0.mlp.up_proj.weight"] == after["model.layers.0.mlp.up_proj.weight"]).all()
    first, second = (row["kl"] for row in trainer.state.log_history if "kl" in row)
    assert first == pytest.approx(0, abs=1e-6) and second > 0
    saved = json.loads((tmp_path / "generation_config.json").read_text(encoding="utf-8"))
    assert saved["top_k"] == 1, "the model's own settings are back when it is saved"


@pytest.mark.parametrize("fresh", [False, True])
def test_from_an_adapter_the_kl_is_to_what_the_adapter_was(fresh: bool, world: Path, run, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", world / "model")
    given = recipe(world) | {"beta": 0.05, "output_dir": str(tmp_path / "out"), "adapter_name_or_path": str(adapter)}
    trainer = run(given | {"create_new_adapter": fresh, "max_steps": 1})
    assert trainer.state.log_history[0]["kl"] == pytest.approx(0, abs=1e-6)


def start_training(given: dict[str, Any], folder: Path) -> subprocess.Popen:
    """The command that users start."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    command = [sys.executable, "-m", "text2sql.train", str(path)]
    where = os.pathsep.join([given["dataset_dir"], str(ROOT / "src"), str(ROOT / "test-suite-sql-eval")])
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": where, "OMP_NUM_THREADS": "1"},
    )


def kill_at(step: int, launcher: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 240
    while not (log.is_file() and f'"current_steps": {step},' in log.read_text(encoding="utf-8")):
        assert launcher.poll() is None, launcher.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=True)
    launcher.kill()
    for child in children.stdout.split():
        os.killpg(int(child), signal.SIGKILL)  # the trainer leads its own group
    launcher.communicate()


def curve(out: Path) -> list[dict[str, Any]]:
    state = json.loads((out / "trainer_state.json").read_text(encoding="utf-8"))
    return [
        {key: value for key, value in row.items() if not key.startswith("time/")}
        for row in state["log_history"]
        if "loss" in row
    ]


def test_it_learns_and_a_killed_run_ends_like_an_undisturbed_one(world: Path, run, tmp_path: Path) -> None:
    given = recipe(world) | {"max_steps": STEPS, "save_strategy": "steps", "save_steps": 4, "beta": 0.01}
    given["per_device_train_batch_size"] = 16
    run(given | {"output_dir": str(tmp_path / "whole")})
    whole = curve(tmp_path / "whole")
    rewards = [row["rewards/letters/mean"] for row in whole]
    assert sum(rewards[-6:]) / 6 > sum(rewards[:6]) / 6 + 0.05, rewards

    killed = given | {"output_dir": str(tmp_path / "killed")}
    kill_at(10, start_training(killed, tmp_path), tmp_path / "killed/trainer_log.jsonl")
    again = start_training(killed, tmp_path)
    said = again.communicate(timeout=300)[1]
    assert again.returncode == 0, said
    assert "resuming from" in said
    assert curve(tmp_path / "killed") == whole
    first, second = (weights(tmp_path / name) for name in ("whole", "killed"))
    assert all((first[name] == second[name]).all() for name in first)
