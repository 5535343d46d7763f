"""What packing gains on Spider's lengths: real tokens a second, and the loss that is reached with the same examples.

    python benchmarks/packing.py [--examples 480] [--model models/tiny-base] [--repeats 2] [--ledger]

Trains the same examples for one epoch through scripts/qwen3_1p7B_train.sh, each way in turn:

    padded    as the project that this one descends from: no packing, random batches of 6, padded to the longest
    grouped   the same with batches of similar length
    packed    several examples a sequence, none attending to another (neat_packing), as many examples a step
    packed_6  the same in batches of 6 sequences, as padded: about twice the examples a step

and compares real (not padding) tokens a CPU second, and the loss a token on questions that were not trained on. What the
padding alone costs is printed for the model's tokenizer and, where it is found, for Qwen's.
"""

import argparse
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sample
from rich.console import Console
from rich.table import Table
from sample import Conversation
from training_run import ROOT, TrainingRun, train

from text2sql import ledger
from text2sql.artifacts import digest

RECIPE = ROOT / "recipes/tiny/spider_sft.yaml"
BATCH, ACCUMULATION, CUTOFF = 6, 2, 1024  # the descended-from project's
HELD_OUT = 60


def main() -> None:
    """Measure, print, and append to the ledger if asked to."""
    args = _arguments()
    trained, held_out = sample.draw(args.data, args.examples, HELD_OUT)
    common = {**sample.write(args.output, trained), **_overrides(args)}
    lengths = sample.lengths(args.model, trained, CUTOFF)
    console = Console()
    mean = sum(lengths) / len(lengths)
    packed_rows = max(1, round(BATCH * mean / CUTOFF * 1.02))  # as many examples a step
    ways = {
        "padded": {},
        "grouped": {"group_by_length": True},
        "packed": {"neat_packing": True, "per_device_train_batch_size": packed_rows},
        "packed_6": {"neat_packing": True},
    }
    runs: dict[str, list[TrainingRun]] = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, keys in ways.items():
            run = train(RECIPE, {**common, "output_dir": args.output / name, **keys})
            runs[name].append(run)
    _print_padding(console, lengths, args.model.name)
    _print_qwen(console, args.shared, trained)
    losses = {name: held_out_loss(runs[name][0].output_dir, held_out) for name in ways}
    rates = {name: max(_rate(run, lengths) for run in found) for name, found in runs.items()}
    _print_result(console, runs, rates, losses)
    if args.ledger:
        _record(args, rates, losses, runs, lengths)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("TEXT2SQL_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--shared", type=Path, default=shared, help="folder with tokenizer_qwen")
    parser.add_argument("--data", type=Path, default=ROOT / "data/prepared/spider/sft_train.jsonl")
    parser.add_argument("--model", type=Path, default=ROOT / "models/tiny-base")
    parser.add_argument("--output", type=Path, default=ROOT / "outputs/bench/packing")
    parser.add_argument("--examples", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--ledger", action="store_true", help="append the figures to results/ledger.jsonl")
    return parser.parse_args()


def _overrides(args: argparse.Namespace) -> dict[str, object]:
    return {
        "model_name_or_path": args.model,
        "cutoff_len": CUTOFF,
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": ACCUMULATION,
        "group_by_length": False,
    }


def padded_tokens(lengths: Sequence[int], batch: int, rounds: int = 20) -> float:
    """Tokens, padding included, of random batches that are padded to their longest (a multiple of 8); mean of ``rounds``."""
    rng, total = random.Random(0), 0
    for _ in range(rounds):
        order = rng.sample(lengths, len(lengths))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            total += len(rows) * -(-max(rows) // 8) * 8
    return total / rounds


def _print_padding(console: Console, lengths: Sequence[int], tokenizer: str) -> None:
    shares = [f"{padded_tokens(lengths, batch) / sum(lengths):.2f} in batches of {batch}" for batch in (2, 6, 16)]
    mean = sum(lengths) / len(lengths)
    console.print(
        f"{tokenizer}: {mean:.0f} tokens an example, longest {max(lengths)}; padded to real: {', '.join(shares)}"
    )


def _print_qwen(console: Console, shared: Path, rows: Sequence[Conversation]) -> None:
    folder = shared / "tokenizer_qwen"
    if not (folder / "vocab.json").is_file():
        return
    from transformers import Qwen2TokenizerFast

    tokenizer = Qwen2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    frame = 5  # a turn's <|im_start|>, role, line feed, <|im_end|>, line feed
    counts = [sum(len(tokenizer.encode(turn["content"])) + frame for turn in row) for row in rows]
    _print_padding(console, [min(count, CUTOFF) for count in counts], "Qwen's tokenizer")


def _rate(run: TrainingRun, lengths: Sequence[int]) -> float:
    """Real tokens a CPU second of the timed steps, at the mean of all steps."""
    return sum(lengths) * run.timed_steps / run.steps / run.cpu_seconds


def held_out_loss(model: Path, rows: Sequence[Conversation]) -> float:
    """Mean loss a token of the answers, each question alone and in fp32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    total, count = 0.0, 0
    for row in rows:
        whole = tokenizer.apply_chat_template(row, enable_thinking=False)
        asked = tokenizer.apply_chat_template(row[:-1], add_generation_prompt=True, enable_thinking=False)
        if len(whole) > CUTOFF:
            continue
        answer = len(whole) - len(asked)
        with torch.no_grad():
            logits = network(torch.tensor([whole]), logits_to_keep=answer + 1).logits[0, :-1]
        target = torch.tensor(whole[-answer:])
        total += torch.nn.functional.cross_entropy(logits, target, reduction="sum").item()
        count += answer
    return total / count


def _print_result(
    console: Console, runs: dict[str, list[TrainingRun]], rates: dict[str, float], losses: dict[str, float]
) -> None:
    table = Table(title="One epoch over the same examples", title_justify="left")
    for head in ("", "real tokens / CPU s", "against padded", "steps", "peak memory MB", "held-out loss a token"):
        table.add_column(head, justify="right" if head else "left")
    for name, found in runs.items():
        peak = max(run.peak_bytes for run in found) / 1e6
        cells = [f"{rates[name]:,.0f}", f"{rates[name] / rates['padded']:.2f}", str(found[0].steps), f"{peak:,.0f}"]
        table.add_row(name, *cells, f"{losses[name]:.4f}")
    console.print(table)


def _record(
    args: argparse.Namespace,
    rates: dict[str, float],
    losses: dict[str, float],
    runs: dict[str, list[TrainingRun]],
    lengths: Sequence[int],
) -> None:
    """One row: the ratio is packed to padded, at the descended-from project's batch and cut-off."""
    metrics: dict[str, Any] = {
        "ratio": rates["packed"] / rates["padded"],
        "grouped_ratio": rates["grouped"] / rates["padded"],
    }
    metrics |= {f"{name}_tokens_per_cpu_second": rate for name, rate in rates.items()}
    metrics |= {f"{name}_loss": loss for name, loss in losses.items()}
    metrics["padding_ratio"] = padded_tokens(lengths, BATCH) / sum(lengths)
    seconds = sum(run.seconds for found in runs.values() for run in found)
    row = ledger.new_row(
        "bench.packing", profile="cpu", seed=0, split=f"spider_train_{args.model.name}", n=len(lengths), metrics=metrics,
        data_hash=digest(args.output / "train.jsonl"), seconds=seconds,
        protocol=f"batches of {BATCH}, cut-off {CUTOFF}",
    )  # fmt: skip
    ledger.append(ROOT / ledger.LEDGER, row)


if __name__ == "__main__":
    sys.exit(main())
