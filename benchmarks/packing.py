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

import random
from collections.abc import Sequence
from pathlib import Path

import sample
from frame import ROOT, SHARED, Shared, ToLedger, record, run, say, show
from sample import Conversation
from training_run import TrainingRun, train

from text2sql.artifacts import digest

RECIPE = ROOT / "recipes/tiny/spider_sft.yaml"
BATCH, ACCUMULATION, CUTOFF = 6, 2, 1024  # the descended-from project's
HELD_OUT = 60


def main(
    data: Path = Path("data/prepared/spider/sft_train.jsonl"),
    model: Path = Path("models/tiny-base"),
    output: Path = Path("outputs/bench/packing"),
    examples: int = 480,
    repeats: int = 2,
    shared: Shared = SHARED,
    ledger: ToLedger = False,
) -> None:
    """Measure, print, and append to the ledger if asked to."""
    trained, held_out = sample.draw(data, examples, HELD_OUT)
    lengths = sample.lengths(model, trained, CUTOFF)
    common = {
        **sample.write(output, trained),
        "model_name_or_path": model,
        "cutoff_len": CUTOFF,
        "global_batch": None,
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": ACCUMULATION,
        "group_by_length": False,
    }
    packed_rows = max(1, round(BATCH * sum(lengths) / len(lengths) / CUTOFF * 1.02))  # as many examples a step
    ways: dict[str, dict[str, object]] = {
        "padded": {},
        "grouped": {"group_by_length": True},
        "packed": {"neat_packing": True, "per_device_train_batch_size": packed_rows},
        "packed_6": {"neat_packing": True},
    }
    runs: dict[str, list[TrainingRun]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, keys in ways.items():
            runs[name].append(train(RECIPE, {**common, "output_dir": output / name, **keys}))
    _print_padding(lengths, model.name)
    _print_qwen(shared, trained)
    losses = {name: held_out_loss(runs[name][0].output_dir, held_out) for name in ways}
    rates = {name: max(_rate(run, lengths) for run in found) for name, found in runs.items()}
    _print_result(runs, rates, losses)
    if ledger:
        metrics = {"ratio": rates["packed"] / rates["padded"], "grouped_ratio": rates["grouped"] / rates["padded"]}
        metrics |= {f"{name}_tokens_per_cpu_second": rate for name, rate in rates.items()}
        metrics |= {f"{name}_loss": loss for name, loss in losses.items()}
        record(
            "bench.packing",
            metrics | {"padding_ratio": padded_tokens(lengths, BATCH) / sum(lengths)},
            split=f"spider_train_{model.name}",
            n=len(lengths),
            data_hash=digest(output / "train.jsonl"),
            seconds=sum(run.seconds for found in runs.values() for run in found),
            protocol=f"batches of {BATCH}, cut-off {CUTOFF}",
        )


def padded_tokens(lengths: Sequence[int], batch: int, rounds: int = 20) -> float:
    """Tokens, padding included, of random batches that are padded to their longest (a multiple of 8); mean of ``rounds``."""
    rng, total = random.Random(0), 0
    for _ in range(rounds):
        order = rng.sample(lengths, len(lengths))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            total += len(rows) * -(-max(rows) // 8) * 8
    return total / rounds


def _print_padding(lengths: Sequence[int], tokenizer: str) -> None:
    shares = [f"{padded_tokens(lengths, batch) / sum(lengths):.2f} in batches of {batch}" for batch in (2, 6, 16)]
    mean = sum(lengths) / len(lengths)
    say(f"{tokenizer}: {mean:.0f} tokens an example, longest {max(lengths)}; padded to real: {', '.join(shares)}")


def _print_qwen(shared: Path, rows: Sequence[Conversation]) -> None:
    folder = shared / "tokenizer_qwen"
    if not (folder / "vocab.json").is_file():
        return
    from transformers import Qwen2TokenizerFast

    tokenizer = Qwen2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    frame = 5  # a turn's <|im_start|>, role, line feed, <|im_end|>, line feed
    counts = [sum(len(tokenizer.encode(turn["content"])) + frame for turn in row) for row in rows]
    _print_padding([min(count, CUTOFF) for count in counts], "Qwen's tokenizer")


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


def _print_result(runs: dict[str, list[TrainingRun]], rates: dict[str, float], losses: dict[str, float]) -> None:
    heads = ("real tokens / CPU s", "against padded", "steps", "peak memory MB", "held-out loss a token")
    rows = []
    for name, found in runs.items():
        peak = max(run.peak_bytes for run in found) / 1e6
        cells = [f"{rates[name]:,.0f}", f"{rates[name] / rates['padded']:.2f}", str(found[0].steps), f"{peak:,.0f}"]
        rows.append([name, *cells, f"{losses[name]:.4f}"])
    show("One epoch over the same examples", heads, rows)


if __name__ == "__main__":
    run(main, __doc__)
