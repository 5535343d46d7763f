"""LLaMA-Factory's stages rm and dpo on pairs of ours: they train, a killed reward model goes on, and its head has no bias."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from support.tiny_model import QUESTIONS, SCHEMA, make_model
from text2sql.artifacts import remove
from text2sql.checkpoint.value_head import HEAD, HeadOptions, convert_head
from text2sql.data.parts import dataset_info
from text2sql.prompts import build_messages
from text2sql.records import write_jsonl
from text2sql.tree.options import ScoreOptions
from text2sql.tree.score import score_pairs

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    make_model(folder / "base", layers=1, hidden=64)
    rows = [
        {
            "messages": build_messages(f"{QUESTIONS[i % 6]} {i}", SCHEMA),
            "chosen": {"role": "assistant", "content": f"SELECT name FROM shop WHERE id = {i}"},
            "rejected": {"role": "assistant", "content": f"SELECT amount FROM sale LIMIT {i}"},
            "difficulty": "easy",
            "gap": "inf",
        }
        for i in range(24)
    ]
    for split in ("train", "val"):
        write_jsonl(folder / f"ranking_{split}.jsonl", rows)
    (folder / "dataset_info.json").write_text(json.dumps(dataset_info("toy_pairs", ("train", "val"), ["ranking"])))
    return folder


def train(world: Path, recipe: str, *more: str) -> str:
    keys = (
        f"model_name_or_path={world / 'base'} dataset_dir={world} output_dir={world / recipe} bf16=false report_to=none"
    )
    keys += " global_batch=4 per_device_train_batch_size=4 max_steps=4 save_steps=2 eval_steps=4 warmup_steps=1 plot_loss=false"
    command = [
        sys.executable,
        "-m",
        "text2sql.train",
        f"recipes/tiny/{recipe}.yaml",
        *keys.split(),
        "learning_rate=5e-3",
        *more,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return done.stderr


def test_a_reward_model_trains_goes_on_after_a_kill_and_becomes_a_classifier(world: Path, tmp_path: Path) -> None:
    train(world, "reward_model")
    out = world / "reward_model"
    names = ("adapter_model.safetensors", HEAD)
    whole = {name: load_file(out / name) for name in names}
    assert float(whole[HEAD]["v_head.summary.bias"].abs().max()) == 0

    for name in ("checkpoint-4", "trainer_state.json", *names):  # as a kill between the checkpoints leaves it
        remove(out / name)
    note = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**note, "status": "running"}))
    assert "resuming from" in train(world, "reward_model")
    for name, tensors in whole.items():
        again = load_file(out / name)
        assert max(float((tensors[key] - again[key]).abs().max()) for key in tensors) < 1e-5, name

    options = HeadOptions(checkpoint=out, model_name_or_path=world / "base", output_dir=tmp_path / "hf")
    assert convert_head(options).difference < 1e-4
    scored = ScoreOptions(
        pairs=world / "ranking_val.jsonl", reward_model=tmp_path / "hf", output_dir=tmp_path / "scored"
    )
    assert score_pairs(scored)["overall"]["n"] == 24


def test_dpo_trains_on_the_same_pairs(world: Path) -> None:
    train(world, "dpo", "max_steps=2", "save_steps=2", "eval_steps=2")
    log = [json.loads(line) for line in (world / "dpo/trainer_log.jsonl").read_text().splitlines()]
    assert any("eval_loss" in row for row in log)
    assert (world / "dpo/adapter_model.safetensors").is_file()
