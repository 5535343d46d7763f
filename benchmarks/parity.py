"""Whether training spread over two processes is the training of one: ZeRO-3 LoRA, ZeRO-2 full, ZeRO-2 + AutoTP=2 full.

``python benchmarks/parity.py`` trains the tiny base on the toy questions through the script that users start, once in one
process without DeepSpeed and once in two processes for each layout, with the same global batch in float32; compares losses
step by step; and scores what both models answer on the toy test questions. ``--ledger`` appends the rows.
A run that is there already is not repeated. What the layouts cost, benchmarks/data_parallel.py measures.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from text2sql.artifacts import digest
from text2sql.errors import UserError, run_command
from text2sql.evaluate.parity import Parity, Trained, compare, record

ROOT = Path(__file__).resolve().parents[1]
BASE = Path("models/tiny-base")
BATCH = 4


@dataclass(frozen=True)
class Layout:
    """A recipe of ``recipes/tiny``, DeepSpeed settings in ``recipes/deepspeed``, and data-parallel processes of two."""

    recipe: str
    deepspeed: str
    data: int

    @property
    def kind(self) -> str:
        return "lora" if self.recipe.startswith("lora") else "full"


LAYOUTS = {
    "zero3_lora": Layout("lora_qv_sft", "zero3", 2),
    "zero2_full": Layout("full_sft", "zero2", 2),
    "zero2_autotp2_full": Layout("full_sft_zero2_tp", "zero2_tp", 1),
}


def main() -> None:
    """Train, compare, print, and append to the ledger if asked to."""
    os.chdir(ROOT)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", default=",".join(LAYOUTS), help="with commas")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("outputs/parity"))
    parser.add_argument("--ledger", action="store_true", help="append the figures to results/ledger.jsonl")
    args = parser.parse_args()
    for name in args.layouts.split(","):
        if name not in LAYOUTS:
            raise UserError(f"--layouts: {name!r} is none of {', '.join(LAYOUTS)}")
        measure(name, LAYOUTS[name], args.steps, args.out, write=args.ledger)


def float32_base(folder: Path) -> Path:
    """The base in float32: of one stored in bfloat16 LLaMA-Factory computes what LoRA leaves alone in bfloat16."""
    if not (folder / "tokenizer_config.json").is_file():  # written last
        from transformers import AutoModelForCausalLM, AutoTokenizer

        AutoModelForCausalLM.from_pretrained(BASE, dtype="float32").save_pretrained(folder)
        AutoTokenizer.from_pretrained(BASE).save_pretrained(folder)
    return folder


def measure(name: str, layout: Layout, steps: int, out: Path, *, write: bool) -> None:
    """Both runs of a layout, their comparison, and the row."""
    base = float32_base(out / "base")
    started = time.monotonic()
    recipe = "lora_qv_sft" if layout.kind == "lora" else "full_sft"
    whole = [f"model_name_or_path={base}", f"per_device_train_batch_size={BATCH}"]
    single = train(recipe, 1, whole, steps, out / f"{layout.kind}_single")
    given = [f"model_name_or_path={base}", f"per_device_train_batch_size={BATCH // layout.data}"]
    given += [f"deepspeed=recipes/deepspeed/{layout.deepspeed}.json"]
    spread = train(layout.recipe, 2, given, steps, out / name)
    parity, n = compare(
        trained(single, base, layout.kind), trained(spread, base, layout.kind),
        Path("recipes/tiny/infer.yaml"), Path("recipes/tiny/evaluate.yaml"),
    )  # fmt: skip
    say(name, parity, n)
    if write:
        words = f"batch of {BATCH} sequences, float32, 2 processes over gloo"
        data_hash = digest(Path("data/prepared/toy/sft_train.jsonl"), Path("data/prepared/toy/examples/test.jsonl"))
        seconds = time.monotonic() - started
        record(f"parity.{name}", parity, n, words=words, data_hash=data_hash, seconds=seconds)


def train(recipe: str, processes: int, given: list[str], steps: int, out: Path) -> Path:
    """A run of the tiny recipe through the script; returns its output folder."""
    keys = f"output_dir={out} max_steps={steps} logging_steps=1 save_steps={steps} bf16=false eval_strategy=no"
    keys += " load_best_model_at_end=false early_stopping_steps=null warmup_steps=5 report_to=none"
    command = ["bash", "scripts/qwen3_1p7B_train.sh", f"recipes/tiny/{recipe}.yaml", *keys.split(), *given]
    environment = {**os.environ, "NPROC_PER_NODE": str(processes)}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise UserError(f"training failed: {' '.join(command)}")
    return out


def trained(run: Path, base: Path, kind: str) -> Trained:
    """What a run left: an adapter of the base, or a model."""
    return Trained(run, base, run) if kind == "lora" else Trained(run, run)


def say(name: str, parity: Parity, n: int) -> None:
    """One line of output."""
    sys.stdout.write(
        f"{name}: first step differs by {parity.first_step_difference:.1e}, at most {parity.max_relative_difference:.2%} "
        f"in {parity.steps} steps; {parity.execution_accuracy:.1%} right on {n} questions (one process: "
        f"{parity.execution_accuracy_single:.1%}), {parity.same_answers:.1%} of answers equal\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    logging.getLogger("text2sql").setLevel(logging.INFO)
    run_command(main)
