"""How close the planner's memory is to what training really takes, on the CPU.

    python benchmarks/plan_memory.py [--only NAME ...] [--ledger]

Trains three steps of each case through scripts/qwen3_1p7B_train.sh and compares the largest resident set of a training
process with `python -m text2sql.plan`. The cases take the tiny base, where activations dominate, and a random model of 66
million weights, where weights, gradients and optimizer do; one and two processes; PyTorch and ZeRO.
"""

import argparse
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from training_run import ROOT, train

from text2sql import ledger
from text2sql.artifacts import digest
from text2sql.plan import estimate
from text2sql.recipe import load_recipe

RECIPE = ROOT / "recipes/tiny/full_sft.yaml"
WORK = ROOT / "outputs/bench/plan_memory"
MEDIUM = {
    "hidden_size": 640,
    "num_hidden_layers": 10,
    "intermediate_size": 1728,
    "num_attention_heads": 10,
    "num_key_value_heads": 5,
    "head_dim": 64,
    "vocab_size": 32_768,
}


@dataclass(frozen=True)
class Case:
    """One run: its model, processes and overrides."""

    model: str
    keys: dict[str, Any] = field(default_factory=dict)
    processes: int = 1


_SMALL = {"per_device_train_batch_size": 2, "cutoff_len": 256, "bf16": False}
_LORA = {"finetuning_type": "lora", "lora_target": "all", "lora_rank": 32}
CASES = {
    "tiny_least": Case(
        "tiny", {"per_device_train_batch_size": 1, "cutoff_len": 64}
    ),  # next to nothing but the framework
    "tiny_full": Case("tiny"),
    "tiny_full_checkpointing": Case("tiny", {"disable_gradient_checkpointing": False, "bf16": False}),
    "tiny_lora": Case("tiny", _LORA),
    "tiny_packed": Case("tiny", {"packing": True, "neat_packing": True, "per_device_train_batch_size": 4}),
    "medium_full": Case("medium", _SMALL),
    "medium_full_bf16": Case("medium", {**_SMALL, "bf16": True}),
    "medium_lora": Case("medium", {**_SMALL, **_LORA}),
    "medium_full_two": Case("medium", _SMALL, 2),
    "medium_full_zero2": Case("medium", {**_SMALL, "deepspeed": "recipes/deepspeed/zero2.json"}, 2),
    "medium_full_zero3": Case("medium", {**_SMALL, "deepspeed": "recipes/deepspeed/zero3.json"}, 2),
}


def main() -> None:
    """Measure, print, and append to the ledger if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--ledger", action="store_true", help="append the figures to results/ledger.jsonl")
    args = parser.parse_args()
    table = Table(title="Peak memory of a training process", title_justify="left")
    for head in ("", "estimated MB", "measured MB", "ratio", "peak at the"):
        table.add_column(head, justify="right" if "M" in head or head == "ratio" else "left")
    console = Console()
    for name in args.only:
        case = CASES[name]
        overrides = _overrides(name, case)
        run = train(RECIPE, overrides, case.processes)
        words = [f"{key}={'null' if value is None else value}" for key, value in overrides.items()]
        planned = estimate(load_recipe(RECIPE, words), RECIPE, case.processes)
        ratio = planned.peak / run.peak_bytes
        worst = max(planned.moments, key=lambda moment: planned.moments[moment])
        table.add_row(name, f"{planned.peak / 1e6:,.0f}", f"{run.peak_bytes / 1e6:,.0f}", f"{ratio:.2f}", worst)
        console.print(f"{name}: estimated {planned.peak / 1e6:,.0f}, measured {run.peak_bytes / 1e6:,.0f}, {ratio:.2f}")
        if args.ledger:
            _record(name, planned.peak, run.peak_bytes, run.seconds, run.steps)
    console.print(table)


def _overrides(name: str, case: Case) -> dict[str, Any]:
    return {
        "model_name_or_path": str(_model(case.model)),
        "output_dir": str(WORK / name),
        "max_steps": 3,
        "max_samples": 64,
        "eval_dataset": None,
        "eval_strategy": "no",
        "save_strategy": "no",
        "load_best_model_at_end": False,
        "early_stopping_steps": None,
        **case.keys,
    }


def _model(kind: str) -> Path:
    """The tiny base, or a random model with its tokenizer, made once."""
    tiny = ROOT / "models/tiny-base"
    if kind == "tiny":
        return tiny
    folder = WORK / "medium"
    if not (folder / "model.safetensors").is_file():
        from transformers import Qwen3Config, Qwen3ForCausalLM

        config = json.loads((tiny / "config.json").read_text(encoding="utf-8"))
        Qwen3ForCausalLM(Qwen3Config(**{**config, **MEDIUM, "layer_types": None})).save_pretrained(folder)
        for path in tiny.iterdir():
            if "token" in path.name or path.name == "chat_template.jinja":
                shutil.copy(path, folder / path.name)
    return folder


def _record(name: str, estimated: float, measured: int, seconds: float, steps: int) -> None:
    metrics = {"ratio": estimated / measured, "estimated_mb": estimated / 1e6, "measured_mb": measured / 1e6}
    row = ledger.new_row(
        "bench.plan_memory",
        profile="cpu",
        seed=0,
        split=name,
        n=steps,
        metrics=metrics,
        data_hash=digest(ROOT / "data/prepared/toy/sft_train.jsonl"),
        seconds=seconds,
        protocol="peak resident set of a training process",
    )
    ledger.append(ROOT / ledger.LEDGER, row)


if __name__ == "__main__":
    main()
