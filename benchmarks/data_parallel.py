"""What spreading a small model over two processes costs: plain data parallelism against ZeRO-2 and ZeRO-3.

    python benchmarks/data_parallel.py [--examples 240] [--ledger]

recipes/tiny/full_sft.yaml in float32 over gloo, the same examples once, eight a step in all; one process stands beside.
Printed for each: real tokens a second of all processes' CPU time, which others on the machine change less than the clock's, and
the largest process's peak of resident memory, most of which is Python and PyTorch and not the model.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import sample
from rich.console import Console
from rich.table import Table
from training_run import ROOT, TrainingRun, train

from text2sql import ledger
from text2sql.artifacts import digest

RECIPE = ROOT / "recipes/tiny/full_sft.yaml"
BASE = ROOT / "models/tiny-base"
BATCH, CUTOFF = 8, 1024


@dataclass(frozen=True)
class Way:
    """Processes, and DeepSpeed settings in ``recipes/deepspeed``; none is plain data parallelism."""

    processes: int
    deepspeed: str | None = None


WAYS = {"single": Way(1), "ddp": Way(2), "zero2": Way(2, "zero2"), "zero3": Way(2, "zero3")}


def main() -> None:
    """Measure, print, and append to the ledger if asked to."""
    os.chdir(ROOT)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/prepared/toy/sft_train.jsonl"))
    parser.add_argument("--examples", type=int, default=240)
    parser.add_argument("--output", type=Path, default=Path("outputs/bench/data_parallel"))
    parser.add_argument("--ledger", action="store_true", help="append the figures to results/ledger.jsonl")
    args = parser.parse_args()
    if args.examples % BATCH:
        sys.exit(f"--examples {args.examples}: a multiple of {BATCH} is needed, so that all ways take the same steps")
    rows, _ = sample.draw(args.data, args.examples)
    keys = {**sample.write(args.output, rows), "model_name_or_path": BASE, "cutoff_len": CUTOFF, "bf16": False}
    tokens = sum(sample.lengths(BASE, rows, CUTOFF))
    metrics: dict[str, float] = {}
    for name, way in WAYS.items():
        deepspeed = f"recipes/deepspeed/{way.deepspeed}.json" if way.deepspeed else None
        more = {"per_device_train_batch_size": BATCH // way.processes, "deepspeed": deepspeed}
        run = train(RECIPE, {**keys, **more, "output_dir": args.output / name}, way.processes)
        metrics |= {f"{name}_{key}": value for key, value in figures(run, tokens).items()}
    show(metrics)
    if args.ledger:
        row = ledger.new_row(
            "bench.data_parallel",
            profile="cpu",
            seed=42,
            split="train",
            n=len(rows),
            metrics=metrics,
            data_hash=digest(args.output / "train.jsonl"),
            seconds=0.0,
            protocol=f"tiny base, all weights, float32, batch of {BATCH}, 2 processes over gloo against one; CPU seconds",
        )
        ledger.append(ledger.LEDGER, row)


def figures(run: TrainingRun, tokens: int) -> dict[str, float]:
    """Real tokens a second of CPU time, and MB of the largest process."""
    return {
        "tokens_per_cpu_second": tokens * run.timed_steps / run.steps / run.cpu_seconds,
        "peak_memory_mb": run.peak_bytes / 1e6,
    }


def show(metrics: dict[str, float]) -> None:
    """A table of all ways."""
    table = Table(title="The same examples once, all weights of the tiny base", title_justify="left")
    for head in ("", "processes", "tokens/CPU s", "peak memory MB"):
        table.add_column(head, justify="right" if head else "left")
    for name, way in WAYS.items():
        cells = [f"{metrics[f'{name}_{key}']:,.0f}" for key in ("tokens_per_cpu_second", "peak_memory_mb")]
        table.add_row(name, str(way.processes), *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
