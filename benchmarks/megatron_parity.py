"""Whether Megatron core over two tensor-parallel processes is Hugging Face's training: losses, gradients, and answers.

``python benchmarks/megatron_parity.py`` trains a small random Qwen3 model on questions of the toy databases, in float32 on CPUs,
by both (tests/support/megatron_twins.py), converts Megatron's checkpoint with scripts/mg2hf.sh's code, and compares what both
models continue. ``--ledger`` appends the row ``parity.megatron_tp2``. Sums in another order differ in the last digit, and each
step multiplies that, so losses of the first ten steps are compared apart from those of all.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from frame import ROOT, ToLedger, record, run, say

sys.path.insert(0, str(ROOT / "tests"))

from text2sql.artifacts import digest
from text2sql.checkpoint.convert import Mg2hfOptions, convert

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


def main(steps: int = 50, ledger: ToLedger = False) -> None:
    """Train both, compare, print, and append to the ledger if asked to."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        parity = measure(Path(place), steps)
    say(json.dumps(asdict(parity)))
    if ledger:
        record(
            "parity.megatron_tp2",
            asdict(parity),
            profile="tiny",
            split="train",
            n=QUESTIONS,
            data_hash=digest(DATA),
            seconds=time.monotonic() - started,
            decoding="greedy",
            protocol=f"losses of {steps} steps of {SEQUENCES} sequences, float32, Megatron core with tensor parallel 2 "
            "over gloo against Hugging Face; answers of the converted checkpoint",
        )


def measure(place: Path, steps: int) -> Parity:
    """Both trainings on the same examples, in the folder ``place``."""
    import torch
    from transformers import AutoTokenizer

    from support.megatron_twins import answers, differences, train_with_hugging_face, train_with_megatron

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
        first_step_difference=abs(ours.losses[0] - theirs.losses[0]),
        max_relative_difference_10_steps=max(relative[:10]),
        max_relative_difference=max(relative),
        gradient_difference=max(differences(ours.gradients, theirs.gradients).values()),
        logits_difference=float(report.logits_difference or 0.0),
        same_answers=sum(a == b for a, b in zip(*continued, strict=True)) / QUESTIONS,
        steps=steps,
    )


def make_base(folder: Path) -> Path:
    """A random Qwen3 model with the tiny base's tokenizer, and with heads that two processes can share."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, Qwen3ForCausalLM

    tiny = ROOT / "models/tiny-base"
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    sizes = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "layer_types": ["full_attention"] * 4,
    }
    config = AutoConfig.from_pretrained(tiny, dtype="float32", **heads, **sizes)
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    run(main, __doc__)
