"""QLoRA through bitsandbytes' CPU kernels: it learns, and what it learned survives merging into the plain base."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from profile_recipes import HERE, NO_EVALUATION, ON_CPU, ONE_STEP, ROOT, finish, history, read, train_all

BITS = (4, 8)
QUESTIONS = 100


@pytest.fixture(scope="module")
def trained(base: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``lora_all_sft`` with the keys that its comment offers, 30 steps in 4 and in 8 bits."""
    root = tmp_path_factory.mktemp("quantized")
    jobs = []
    for bits in BITS:
        given = ONE_STEP | ON_CPU | NO_EVALUATION
        given |= {"model_name_or_path": str(base), "dataset_dir": str(rows), "output_dir": str(root / str(bits))}
        given |= {"quantization_bit": bits, "quantization_method": "bnb", "double_quantization": True}
        # liger's kernels are another check's; a model this narrow takes larger steps.
        given |= {"enable_liger_kernel": False, "max_steps": 30, "learning_rate": 1e-3, "bf16": False}
        jobs.append(read("lora_all_sft") | given)
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
    """Shares of toy questions that get the same answer, by bits."""
    found = {}
    for bits in BITS:
        adapter, merged = trained / str(bits), trained / f"{bits}-merged"
        command = [
            "bash",
            "scripts/merge_hf_lora.sh",
            "recipes/qwen3_1p7b/merge_lora.yaml",
            f"model_name_or_path={base}",
        ]
        command += [f"adapter_name_or_path={adapter}", f"export_dir={merged}", "infer_dtype=float32"]
        done = subprocess.run(command, cwd=ROOT, env=os.environ.copy(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        questions = toy / "sft_val.jsonl"
        words = [str(base), str(adapter), str(merged), str(bits), str(questions), str(QUESTIONS)]
        done = subprocess.run(
            [sys.executable, str(HERE / "answers.py"), *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found[str(bits)] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("bits", BITS)
def test_merged_it_answers_as_adapter_and_base(bits: int, agreement: dict[str, dict[str, float]]) -> None:
    """Merging goes into the base as published, not as quantized; against that one more answers may differ."""
    shares = agreement[str(bits)]
    assert shares["adapter on base"] >= 0.98, shares
    assert shares["base alone"] < 0.98, f"the adapter should matter to these questions: {shares}"
    sys.stdout.write(f"{bits} bits: the merged model answers like {shares}\n")
