"""Killed training, through the real llamafactory-cli: the same command goes on as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.tiny_model import QUESTIONS, SCHEMA, make_model

ROOT = Path(__file__).parents[2]
STEPS = 10
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for a short run on a random model; every step is logged, every second one saved and evaluated."""
    folder = tmp_path_factory.mktemp("resume")
    make_model(folder / "model", layers=1, hidden=64)
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{SCHEMA}\n{QUESTIONS[i % len(QUESTIONS)]} {i}"},
                {"role": "assistant", "content": f"SELECT name FROM shop WHERE id = {i}"},
            ]
        }
        for i in range(60)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    info = json.loads((ROOT / "data/dataset_info.json").read_text(encoding="utf-8"))["toy_train"]
    info["file_name"] = "rows.jsonl"
    (folder / "dataset_info.json").write_text(json.dumps({"rows": info}), encoding="utf-8")
    keys = (
        f"model_name_or_path={folder / 'model'} dataset_dir={folder} dataset=rows eval_dataset=rows max_steps={STEPS}"
    )
    keys += " global_batch=null save_steps=2 eval_steps=2 logging_steps=1 per_device_train_batch_size=2 warmup_steps=2 lora_dropout=0.1"
    return keys.split()


def command(settings: list[str], out: Path) -> list[str]:
    recipe = "recipes/tiny/lora_qv_sft.yaml"
    return [sys.executable, "-m", "text2sql.train", recipe, *settings, f"output_dir={out}"]


def run(settings: list[str], out: Path) -> str:
    done = subprocess.run(command(settings, out), capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stderr


def kill_at(step: int, settings: list[str], out: Path) -> None:
    """Start the command and kill -9 the trainer and its launcher once the log has ``step``."""
    log = out / "trainer_log.jsonl"
    launcher = subprocess.Popen(
        command(settings, out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 600
    try:
        while not (log.is_file() and f'"current_steps": {step},' in log.read_text(encoding="utf-8")):
            assert launcher.poll() is None, launcher.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        children = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=False)
        launcher.kill()
        for child in children.stdout.split():
            os.killpg(int(child), signal.SIGKILL)  # the trainer leads its own group
        launcher.communicate()


def curve(out: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (out / "trainer_log.jsonl").open(encoding="utf-8")]
    return [(row["current_steps"], row["loss"]) for row in rows if "loss" in row]


def test_killed_training_goes_on_where_it_was(settings: list[str], tmp_path: Path) -> None:
    run(settings, tmp_path / "whole")
    step = random.randint(3, STEPS - 3)
    kill_at(step, settings, tmp_path / "killed")
    state = json.loads((tmp_path / "killed/run.json").read_text(encoding="utf-8"))
    assert state["status"] == "running"

    half = tmp_path / "killed" / f"checkpoint-{STEPS - 1}"  # what a kill in the middle of a save leaves
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"half")
    said = run(settings, tmp_path / "killed")
    assert "resuming from" in said
    assert f"{half.name} was never finished" in said

    state = json.loads((tmp_path / "killed/run.json").read_text(encoding="utf-8"))
    assert (state["status"], state["steps"]) == ("done", STEPS)
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole"), f"killed at step {step}"
    assert [step for step, _ in curve(tmp_path / "whole")] == list(range(1, STEPS + 1))
    whole, killed = (tmp_path / name / "adapter_model.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == killed.read_bytes()

    logged = (tmp_path / "killed/train.log").read_bytes()
    assert "already trained" in run(settings, tmp_path / "killed")
    assert (tmp_path / "killed/train.log").read_bytes() == logged, "no trainer was started"
