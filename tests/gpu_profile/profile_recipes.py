"""The recipes under check, and what each is given here in place of GPUs, Qwen3-1.7B and Spider."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "recipes/qwen3_1p7b"
SHARED = Path(os.environ.get("TEXT2SQL_SHARED") or ROOT.parent / "shared")

# One optimizer step of one sequence; the warm-up would make its learning rate 0.
ONE_STEP: dict[str, Any] = {
    "cutoff_len": 64,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "max_steps": 1,
    "warmup_ratio": 0.0,
    "logging_steps": 1,
}
ON_CPU: dict[str, Any] = {"use_cpu": True, "deepspeed": None}
NO_EVALUATION: dict[str, Any] = {
    "eval_dataset": None,
    "val_size": 0.0,
    "eval_strategy": "no",
    "load_best_model_at_end": False,
    "early_stopping_steps": None,
    "preprocessing_num_workers": 1,
    "report_to": "none",
    "plot_loss": False,
}


OURS, MIXING = ("global_batch",), ("mix_strategy", "interleave_probs")


def read(name: str) -> dict[str, Any]:
    """A recipe of recipes/qwen3_1p7b as LLaMA-Factory takes it: without the key from which ours derives accumulation,
    without the questions that fine-tuning would answer at its evaluations, and without the mixing of several data sets."""
    recipe: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    questions = ("eval_examples", "eval_samples", "database_root") if recipe.get("stage") == "sft" else ()
    return {key: value for key, value in recipe.items() if key not in (*OURS, *MIXING, *questions)}


def by_stage(stage: str) -> list[str]:
    """The names of the recipes that train so: sft or grpo."""
    return [path.stem for path in sorted(FOLDER.glob("*.yaml")) if read(path.stem).get("stage") == stage]


def train_all(recipes: list[dict[str, Any]], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start one process that runs LLaMA-Factory's training of each recipe in turn; what it prints goes to ``log``."""
    jobs = log.with_suffix(".json")
    jobs.write_text(json.dumps(recipes), encoding="utf-8")
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(HERE / "trainings.py"), str(jobs)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            cwd=ROOT,
        )


def train_by_command(name: str, overrides: dict[str, Any], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start training as a user does, ``python -m text2sql.train RECIPE key=value ...``; what it prints goes to ``log``."""
    given = [
        f"{key}={json.dumps(value) if value is None or isinstance(value, bool) else value}"
        for key, value in ({"global_batch": None, "eval_examples": None} | overrides).items()
    ]
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "text2sql.train", str(FOLDER / f"{name}.yaml"), *given],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            cwd=ROOT,
        )


def interpreted() -> dict[str, str]:
    """The variables under which triton's kernels run on the CPU, liger's RMSNorm included."""
    path = os.pathsep.join(filter(None, (str(HERE / "interpreter"), os.environ.get("PYTHONPATH"))))
    return {"TRITON_INTERPRET": "1", "PYTHONPATH": path}


def finish(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for it; a failure shows the end of its log."""
    code = process.wait()
    assert code == 0, f"exit code {code}\n" + log.read_text(encoding="utf-8", errors="replace")[-3000:]


def history(output: Path) -> list[dict[str, float]]:
    """What a training logged a step: loss, grad_norm and others."""
    state = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))
    return [entry for entry in state["log_history"] if "loss" in entry]
