"""Whether training spread over two processes is the training of one: ZeRO-3 LoRA, ZeRO-2 full, ZeRO-2 + AutoTP=2 full.

``python benchmarks/parity.py`` trains the tiny base on the toy questions through the script that users start, once in one
process without DeepSpeed and once in two processes for each layout, with the same global batch in float32; compares losses
step by step; and scores what both models answer on the toy test questions. ``--ledger`` appends the rows.
A run that is there already is not repeated. What the layouts cost, benchmarks/data_parallel.py measures.
"""

import logging
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from frame import ROOT, ToLedger, record, run, say

from text2sql.artifacts import digest, whole_folder
from text2sql.errors import UserError
from text2sql.evaluate.answers import EvaluateOptions
from text2sql.evaluate.score import evaluate
from text2sql.infer import InferOptions, infer
from text2sql.recipe import load_recipe, options_from
from text2sql.records import Prediction, read_jsonl

sys.path.insert(0, str(ROOT / "tests"))
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


@dataclass(frozen=True)
class Trained:
    """A finished run: its output folder, and what answers questions: a model, and perhaps an adapter of it."""

    run: Path
    model: Path
    adapter: Path | None = None


@dataclass(frozen=True)
class Parity:
    """The first step's absolute difference of losses, the largest relative one of any step, accuracies, equal answers."""

    first_step_difference: float
    max_relative_difference: float
    steps: int
    execution_accuracy_single: float
    execution_accuracy: float
    same_answers: float


def main(
    layouts: Annotated[str, typer.Option(help="With commas.")] = ",".join(LAYOUTS),
    steps: int = 50,
    out: Path = Path("outputs/parity"),
    ledger: ToLedger = False,
) -> None:
    """Train, compare, print, and append to the ledger if asked to."""
    for name in layouts.split(","):
        if name not in LAYOUTS:
            raise UserError(f"--layouts: {name!r} is none of {', '.join(LAYOUTS)}")
        measure(name, LAYOUTS[name], steps, out, ledger)


def float32_base(folder: Path) -> Path:
    """The base in float32: of one stored in bfloat16 LLaMA-Factory computes what LoRA leaves alone in bfloat16."""
    if not folder.is_dir():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with whole_folder(folder) as partial:
            AutoModelForCausalLM.from_pretrained(BASE, dtype="float32").save_pretrained(partial)
            AutoTokenizer.from_pretrained(BASE).save_pretrained(partial)
    return folder


def measure(name: str, layout: Layout, steps: int, out: Path, write: bool) -> None:
    """Both runs of a layout, their comparison, and the row."""
    base = float32_base(out / "base")
    started = time.monotonic()
    recipe = "lora_qv_sft" if layout.kind == "lora" else "full_sft"
    whole = [f"model_name_or_path={base}", f"per_device_train_batch_size={BATCH}"]
    single = train(recipe, 1, whole, steps, out / f"{layout.kind}_single")
    given = [f"model_name_or_path={base}", f"per_device_train_batch_size={BATCH // layout.data}"]
    given += [f"deepspeed=recipes/deepspeed/{layout.deepspeed}.json"]
    spread = train(layout.recipe, 2, given, steps, out / name)
    parity, n = compare(trained(single, base, layout.kind), trained(spread, base, layout.kind))
    say(
        f"{name}: first step differs by {parity.first_step_difference:.1e}, at most {parity.max_relative_difference:.2%} "
        f"in {parity.steps} steps; {parity.execution_accuracy:.1%} right on {n} questions (one process: "
        f"{parity.execution_accuracy_single:.1%}), {parity.same_answers:.1%} of answers equal"
    )
    if write:
        words = (
            f"losses of {steps} steps (batch of {BATCH} sequences, float32, 2 processes over gloo) against one process"
        )
        record(
            f"parity.{name}",
            asdict(parity),
            profile="tiny",
            seed=42,
            split="test",
            n=n,
            data_hash=digest(Path("data/prepared/toy/sft_train.jsonl"), Path("data/prepared/toy/examples/test.jsonl")),
            seconds=time.monotonic() - started,
            protocol=f"{words}; answers by spider-test-suite",
            decoding="greedy",
        )


def compare(single: Trained, spread: Trained) -> tuple[Parity, int]:
    """Compare two runs, and what their models answer; also returns the number of questions."""
    from support.loss_curves import compare_curves, read_curve

    curve = read_curve(spread.run)
    first, worst = compare_curves(read_curve(single.run), curve)
    (accuracy, answers), (spread_accuracy, spread_answers) = score(single), score(spread)
    same = sum(answers[key] == spread_answers[key] for key in answers) / len(answers)
    return Parity(first, worst, len(curve), accuracy, spread_accuracy, same), len(answers)


def score(found: Trained) -> tuple[float, dict[str, str]]:
    """Execution accuracy on the toy test questions, and the SQL by question."""
    folder, recipes = found.run / "eval", Path("recipes/tiny")
    given = [f"model_name_or_path={found.model}", f"output={folder}/predictions.jsonl", "engine=transformers"]
    given += [f"adapter_name_or_path={found.adapter}"] if found.adapter else []
    predictions = infer(options_from(InferOptions, load_recipe(recipes / "infer.yaml", given), "infer.yaml"))
    options = load_recipe(recipes / "evaluate.yaml", [f"output_dir={folder}"])
    report = evaluate(options_from(EvaluateOptions, options, "evaluate.yaml"))
    return report.overall.accuracy, {row.question_id: row.pred for row in read_jsonl(predictions, Prediction)}


def train(recipe: str, processes: int, given: list[str], steps: int, out: Path) -> Path:
    """A run of the tiny recipe through the script; returns its output folder."""
    keys = f"global_batch={BATCH} output_dir={out} max_steps={steps} logging_steps=1 save_steps={steps} bf16=false"
    keys += " eval_strategy=no load_best_model_at_end=false early_stopping_steps=null warmup_steps=5 report_to=none"
    command = ["bash", "scripts/qwen3_1p7B_train.sh", f"recipes/tiny/{recipe}.yaml", *keys.split(), *given]
    environment = {**os.environ, "NPROC_PER_NODE": str(processes)}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise UserError(f"training failed: {' '.join(command)}")
    return out


def trained(run: Path, base: Path, kind: str) -> Trained:
    """What a run left: an adapter of the base, or a model."""
    return Trained(run, base, run) if kind == "lora" else Trained(run, run)


if __name__ == "__main__":
    logging.getLogger("text2sql").setLevel(logging.INFO)
    run(main, __doc__)
