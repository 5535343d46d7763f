"""Whether Megatron core over two tensor-parallel processes is Hugging Face's training: losses, gradients, and answers.

``python benchmarks/megatron_parity.py`` trains a small random Qwen3 model on questions of the toy world, in float32 on CPUs,
by both (tests/megatron_twins.py), converts Megatron's checkpoint with scripts/mg2hf.sh's code, and compares what both
models continue. ``--ledger`` appends the row ``parity.megatron_tp2``. Sums in another order differ in the last digit, and each
step multiplies that, so losses of the first ten steps are compared apart from those of all.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from text2sql import ledger  # noqa: E402
from text2sql.artifacts import digest  # noqa: E402
from text2sql.checkpoint.convert import Mg2hfOptions, convert  # noqa: E402
from text2sql.errors import run_command  # noqa: E402

DATA = Path("data/prepared/toy/sft_train.jsonl")
RATE, SEQUENCES, QUESTIONS = 1e-3, 4, 20


@dataclass(frozen=True)
class Parity:
    """Absolute difference of the first loss, largest relative ones of losses and of gradients, logits, equal answers."""

    first_step_difference: float
    max_relative_difference_10_steps: float
    max_relative_difference: float
    gradient_difference: float
    logits_difference: float
    same_answers: float
    steps: int


def main() -> None:
    """Train both, compare, print, and append to the ledger if asked to."""
    os.chdir(ROOT)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--ledger", action="store_true", help="append the figures to results/ledger.jsonl")
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        parity = measure(Path(place), args.steps)
    sys.stdout.write(json.dumps(asdict(parity)) + "\n")
    if args.ledger:
        row = ledger.new_row(
            "parity.megatron_tp2", profile="tiny", seed=0, split="train", n=QUESTIONS, metrics=asdict(parity),
            data_hash=digest(DATA), seconds=time.monotonic() - started, decoding="greedy",
            protocol=f"losses of {args.steps} steps of {SEQUENCES} sequences, float32, Megatron core with tensor parallel 2 "
            "over gloo against Hugging Face; answers of the converted checkpoint",
        )  # fmt: skip
        ledger.append(ledger.LEDGER, row)


def measure(place: Path, steps: int) -> Parity:
    """Both trainings on the same examples, in the folder ``place``."""
    import torch
    from megatron_twins import answers, differences, train_with_hugging_face, train_with_megatron
    from transformers import AutoTokenizer

    base = make_base(place / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = [json.loads(line)["messages"] for line in DATA.open(encoding="utf-8")][: SEQUENCES + QUESTIONS]
    texts = [tokenizer.apply_chat_template(row, tokenize=True)[:512] for row in rows[:SEQUENCES]]
    sequences = [torch.tensor(ids) for ids in texts]
    ours = train_with_megatron(base, sequences, place, steps, RATE)
    theirs = train_with_hugging_face(base, sequences, place / "twin", steps, RATE)
    reference = place / "reference.safetensors"
    report = convert(
        Mg2hfOptions(
            checkpoint=place / "checkpoint",
            output_dir=place / "converted",
            model_name_or_path=base,
            reference=reference,
        )
    )
    prompts = [tokenizer.apply_chat_template(row[:-1], add_generation_prompt=True)[-200:] for row in rows[SEQUENCES:]]
    continued = [answers(place / name, prompts) for name in ("converted", "twin")]
    relative = [abs(a - b) / b for a, b in zip(ours.losses, theirs.losses, strict=True)]
    return Parity(
        abs(ours.losses[0] - theirs.losses[0]), max(relative[:10]), max(relative),
        max(differences(ours.gradients, theirs.gradients).values()), float(report.logits_difference or 0.0),
        sum(a == b for a, b in zip(*continued, strict=True)) / QUESTIONS, steps,
    )  # fmt: skip


def make_base(folder: Path) -> Path:
    """A random Qwen3 model with the tiny base's tokenizer, and with heads that two processes can share."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, Qwen3ForCausalLM

    tiny = ROOT / "models/tiny-base"
    config = AutoConfig.from_pretrained(
        tiny, hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        layer_types=["full_attention"] * 4, dtype="float32",
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    run_command(main)
