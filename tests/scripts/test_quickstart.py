"""The quickstart at reduced length, from data to comparison: fine-tuning must raise accuracy on databases never seen."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from text2sql import ledger

ROOT = Path(__file__).parents[2]
BASE = ROOT / "models/tiny-base"
STEPS, QUESTIONS = 60, 100
pytestmark = pytest.mark.slow


def quickstart(output: Path) -> subprocess.CompletedProcess[str]:
    keys = [f"max_steps={STEPS}", f"limit={QUESTIONS}", f"output={output}", "engine=transformers"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "scripts/quickstart.sh", *keys], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_quickstart_raises_held_out_accuracy(tmp_path: Path) -> None:
    own_ledger = (ROOT / ledger.LEDGER).read_bytes() if (ROOT / ledger.LEDGER).is_file() else None
    done = quickstart(tmp_path / "out")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for number in range(1, 9):
        assert f"[{number}/8] done in" in done.stderr

    rows = ledger.read(tmp_path / "out/quickstart/ledger.jsonl")
    assert [row.experiment for row in rows] == ["toy.base", "toy.lora_qv_sft"]
    base, tuned = (row.metrics["execution_accuracy"] for row in rows)
    assert tuned > base + 0.05, f"{base:.3f} -> {tuned:.3f}"
    assert all(row.n == QUESTIONS and row.protocol.startswith("spider-test-suite") for row in rows)

    run = json.loads((tmp_path / "out/lora_qv_sft/run.json").read_text(encoding="utf-8"))
    assert (run["status"], run["steps"]) == ("done", STEPS)
    assert (tmp_path / "out/lora_qv_sft_merged/model.safetensors").is_file()
    plot = (tmp_path / "out/quickstart/model_performance_comparison.png").read_bytes()
    assert plot.startswith(b"\x89PNG")
    assert "fine-tuned" in done.stdout

    again = quickstart(tmp_path / "out")
    assert again.returncode == 0, again.stderr[-3000:]
    for words in ("environment: ready", "already trained", "already merged", "already scored"):
        assert words in again.stderr
    assert ledger.read(tmp_path / "out/quickstart/ledger.jsonl") == rows, "nothing is measured twice"
    now = (ROOT / ledger.LEDGER).read_bytes() if (ROOT / ledger.LEDGER).is_file() else None
    assert now == own_ledger, "the repository's ledger is not the quickstart's"
