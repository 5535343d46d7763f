"""QLoRA through bitsandbytes' CPU kernels: it learns, and what it learned survives merging into the plain base."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from profile_recipes import HERE, NO_EVALUATION, ON_CPU, ONE_STEP, ROOT, finish, history, read, train_all

BITS = (4, 8)
QUESTIONS = 50


@pytest.fixture(scope="module")
def ended(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy world's training rows with a semicolon after every answer, which the tiny base does not write."""
    folder = tmp_path_factory.mktemp("ended")
    with (toy / "sft_train.jsonl").open(encoding="utf-8") as file, (folder / "rows.jsonl").open("w") as changed:
        for line in itertools.islice(file, 0, None, 20):
            row = json.loads(line)
            row["messages"][-1]["content"] += ";"
            changed.write(json.dumps(row) + "\n")
    described = json.loads((toy / "dataset_info.json").read_text(encoding="utf-8"))["toy_train"]
    entry = {"spider_train": described | {"file_name": "rows.jsonl"}}
    (folder / "dataset_info.json").write_text(json.dumps(entry), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(base: Path, ended: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``lora_all_sft`` with the keys that its comment offers, 30 steps in 4 and in 8 bits."""
    root = tmp_path_factory.mktemp("quantized")
    jobs = []
    for bits in BITS:
        given = ONE_STEP | ON_CPU | NO_EVALUATION
        given |= {"model_name_or_path": str(base), "dataset_dir": str(ended), "output_dir": str(root / str(bits))}
        given |= {"quantization_bit": bits, "quantization_method": "bnb", "double_quantization": True}
        given |= {"max_steps": 30, "cutoff_len": 512, "bf16": False, "learning_rate": 2e-3}  # the rate of recipes/tiny
        given |= {"enable_liger_kernel": False}  # another check's
        jobs.append(read("lora_all_sft") | given | {"disable_gradient_checkpointing": True})
    log = root / "train.log"
    finish(train_all(jobs, log), log)
    return root


@pytest.mark.parametrize("bits", BITS)
def test_the_loss_falls(bits: int, trained: Path) -> None:
    losses = [entry["loss"] for entry in history(trained / str(bits))]
    assert len(losses) == 30
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5]), losses


@pytest.fixture(scope="module")
def agreement(base: Path, toy: Path, trained: Path) -> dict[str, dict[str, float]]:
    """Shares of toy questions about other databases that get the same answer, by bits."""
    merge = ["bash", "scripts/merge_hf_lora.sh", "recipes/qwen3_1p7b/merge_lora.yaml", f"model_name_or_path={base}"]
    merge.append("infer_dtype=float32")
    steps = [
        [*merge, f"adapter_name_or_path={trained / str(bits)}", f"export_dir={trained / f'{bits}-merged'}"]
        for bits in BITS
    ]
    words = [str(base), str(trained), str(toy / "sft_val.jsonl"), str(QUESTIONS)]
    for step in (*steps, [sys.executable, str(HERE / "answers.py"), *words]):
        done = subprocess.run(step, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("bits", BITS)
def test_merged_it_answers_as_adapter_and_base(bits: int, agreement: dict[str, dict[str, float]]) -> None:
    """Merging goes into the base as published, not into the quantized one that was trained on; what that costs is printed."""
    shares = agreement[str(bits)]
    assert shares["adapter on base"] >= 0.98, shares
    assert shares["base alone"] < 0.98, f"the adapter should matter to these questions: {shares}"
    sys.stdout.write(f"{bits} bits: the merged model answers like {shares}\n")
