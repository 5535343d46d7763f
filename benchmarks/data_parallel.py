"""What spreading a small model over two processes costs: plain data parallelism against ZeRO-2 and ZeRO-3.

    python benchmarks/data_parallel.py [--examples 240] [--ledger]

recipes/tiny/full_sft.yaml in float32 over gloo, the same examples once, eight a step in all; one process stands beside.
Printed for each: real tokens a second of all processes' CPU time, which others on the machine change less than the clock's, and
the largest process's peak of resident memory, most of which is Python and PyTorch and not the model.
"""

from dataclasses import dataclass
from pathlib import Path

import sample
from frame import ROOT, ToLedger, record, run, show
from training_run import TrainingRun, train

from text2sql.artifacts import digest
from text2sql.errors import UserError

RECIPE = ROOT / "recipes/tiny/full_sft.yaml"
BASE = ROOT / "models/tiny-base"
BATCH, CUTOFF = 8, 1024


@dataclass(frozen=True)
class Way:
    """Processes, and DeepSpeed settings in ``recipes/deepspeed``; none is plain data parallelism."""

    processes: int
    deepspeed: str | None = None


WAYS = {"single": Way(1), "ddp": Way(2), "zero2": Way(2, "zero2"), "zero3": Way(2, "zero3")}


def main(
    data: Path = Path("data/prepared/toy/sft_train.jsonl"),
    examples: int = 240,
    output: Path = Path("outputs/bench/data_parallel"),
    ledger: ToLedger = False,
) -> None:
    """Measure, print, and append to the ledger if asked to."""
    if examples % BATCH:
        raise UserError(f"--examples {examples}: a multiple of {BATCH} is needed, so that all ways take the same steps")
    rows, _ = sample.draw(data, examples)
    keys = {**sample.write(output, rows), "model_name_or_path": BASE, "cutoff_len": CUTOFF, "bf16": False}
    keys["global_batch"] = BATCH
    tokens = sum(sample.lengths(BASE, rows, CUTOFF))
    metrics: dict[str, float] = {}
    for name, way in WAYS.items():
        deepspeed = f"recipes/deepspeed/{way.deepspeed}.json" if way.deepspeed else None
        more = {"per_device_train_batch_size": BATCH // way.processes, "deepspeed": deepspeed}
        trained = train(RECIPE, {**keys, **more, "output_dir": output / name}, way.processes)
        metrics |= {f"{name}_{key}": value for key, value in figures(trained, tokens).items()}
    title = "The same examples once, all weights of the tiny base"
    cells = [
        [
            name,
            str(way.processes),
            *(f"{metrics[f'{name}_{key}']:,.0f}" for key in ("tokens_per_cpu_second", "peak_memory_mb")),
        ]
        for name, way in WAYS.items()
    ]
    show(title, ("processes", "tokens/CPU s", "peak memory MB"), cells)
    if ledger:
        record(
            "bench.data_parallel",
            metrics,
            seed=42,
            split="train",
            n=len(rows),
            data_hash=digest(output / "train.jsonl"),
            protocol=f"tiny base, all weights, float32, batch of {BATCH}, 2 processes over gloo against one; CPU seconds",
        )


def figures(run: TrainingRun, tokens: int) -> dict[str, float]:
    """Real tokens a second of CPU time, and MB of the largest process."""
    return {
        "tokens_per_cpu_second": tokens * run.timed_steps / run.steps / run.cpu_seconds,
        "peak_memory_mb": run.peak_bytes / 1e6,
    }


if __name__ == "__main__":
    run(main, __doc__)
