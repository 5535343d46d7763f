"""How close the planner's memory is to what training really takes, on the CPU.

    python benchmarks/plan_memory.py [--only NAME ...] [--ledger]

Trains three steps of each case through scripts/qwen3_1p7B_train.sh and compares the largest resident set of a training
process with `text2sql plan`. The cases take the tiny base, where activations dominate, and a random model of 66
million weights, where weights, gradients and optimizer do; one and two processes; PyTorch and ZeRO.
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from frame import ROOT, ToLedger, record, run, say, show
from training_run import train

from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.plan.estimate import estimate
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
    # Next to nothing but the framework.
    "tiny_least": Case("tiny", {"per_device_train_batch_size": 1, "cutoff_len": 64}),
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


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Cases (may be repeated): {', '.join(CASES)}.")] = None,
    ledger: ToLedger = False,
) -> None:
    """Measure, print, and append to the ledger if asked to."""
    rows = []
    for name in only or CASES:
        if name not in CASES:
            raise UserError(f"--only: {name!r} is none of {', '.join(CASES)}")
        case = CASES[name]
        overrides = _overrides(name, case)
        trained = train(RECIPE, overrides, case.processes)
        words = [f"{key}={'null' if value is None else value}" for key, value in overrides.items()]
        planned = estimate(load_recipe(RECIPE, words), RECIPE, case.processes)
        figures = {"estimated_mb": planned.peak / 1e6, "measured_mb": trained.peak_bytes / 1e6}
        ratio = planned.peak / trained.peak_bytes
        worst = max(planned.moments, key=lambda moment: planned.moments[moment])
        rows.append([name, *(f"{value:,.0f}" for value in figures.values()), f"{ratio:.2f}", worst])
        say(", ".join(rows[-1]))
        if ledger:
            record(
                "bench.plan_memory",
                {"ratio": ratio, **figures},
                split=name,
                n=trained.steps,
                data_hash=digest(ROOT / "data/prepared/toy/sft_train.jsonl"),
                seconds=trained.seconds,
                protocol="peak resident set of a training process",
            )
    show("Peak memory of a training process", ("estimated MB", "measured MB", "ratio", "peak at the"), rows)


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
        "global_batch": None,
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


if __name__ == "__main__":
    run(main, __doc__)
