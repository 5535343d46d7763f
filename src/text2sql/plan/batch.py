"""Batch arithmetic: sequences and tokens a step, steps an epoch, and how long the examples are where they can be read."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.plan.layout import Layout
from text2sql.train.preflight import data_files

_SAMPLE = 20_000
_TURN = 5  # tokens of a turn's frame: <|im_start|>, role, line feed, <|im_end|>, line feed
_FULL = 0.98  # of a packed sequence is text: packing Spider's training questions leaves 1 to 2 % empty


@dataclass(frozen=True)
class Lengths:
    """How many examples a data set has, and their mean and longest number of tokens.

    ``exact``: all were counted; of more than 20,000 only a sample is.
    """

    examples: int
    mean: float
    longest: int
    exact: bool


@dataclass(frozen=True)
class Batch:
    """What a training step sees. ``global_sequences`` are packed where the recipe packs; steps are None where the data
    are not there.

    ``real_tokens``: tokens a step without padding, None where no tokenizer can tell.
    """

    device_sequences: int
    accumulation: int
    data: int
    tokens: int
    lengths: Lengths | None
    real_tokens: int | None
    steps_per_epoch: int | None
    steps: int | None

    @property
    def global_sequences(self) -> int:
        """Sequences of one step of the optimizer, over all processes."""
        return self.device_sequences * self.accumulation * self.data


def read_batch(recipe: Mapping[str, Any], layout: Layout, length: int, lengths: Lengths | None) -> Batch:
    """The batch of a recipe whose sequences are at most ``length`` tokens long."""
    device = int(recipe.get("per_device_train_batch_size") or 8)
    accumulation = int(recipe.get("gradient_accumulation_steps") or 1)
    sequences = device * accumulation * layout.data
    packing = bool(recipe.get("packing") or recipe.get("neat_packing"))
    rows, real = _rows(lengths, int(recipe.get("cutoff_len") or 2048), packing), None
    if lengths and lengths.mean:
        cutoff = int(recipe.get("cutoff_len") or 2048)
        real = round(sequences * (_FULL * cutoff if packing else min(lengths.mean, cutoff)))
    per_epoch = math.ceil(math.ceil(rows / (device * layout.data)) / accumulation) if rows else None
    fixed = int(recipe.get("max_steps") or 0)
    steps = (
        fixed if fixed > 0 else math.ceil(float(recipe.get("num_train_epochs") or 3) * per_epoch) if per_epoch else None
    )
    return Batch(device, accumulation, layout.data, sequences * length, lengths, real, per_epoch, steps)


def _rows(lengths: Lengths | None, cutoff: int, packing: bool) -> int | None:
    if lengths is None or not packing:
        return lengths.examples if lengths else None
    return math.ceil(lengths.examples * lengths.mean / (_FULL * cutoff)) if lengths.mean else None


def read_lengths(recipe: Mapping[str, Any], where: Path) -> Lengths | None:
    """How many training examples there are, and how long; None where the data are not prepared.

    Lengths are 0 where the model folder has no tokenizer, or the rows are no conversations.
    """
    options = {key: value for key, value in recipe.items() if key != "eval_dataset"}
    try:
        files = [path for _, path in data_files(options, where) if path.suffix == ".jsonl"]
    except UserError:
        return None
    if not files:
        return None
    rows = sum(sum(1 for line in path.open("rb") if line.strip()) for path in files)
    stride = max(1, -(-rows // _SAMPLE))
    counts = _token_counts(recipe, islice(_lines(files), 0, None, stride))
    limit = int(recipe.get("max_samples") or rows * len(files))
    held = float(recipe.get("val_size") or 0)
    examples = min(rows, limit)
    examples -= math.ceil(examples * held) if held < 1 else int(held)
    return Lengths(
        examples, sum(counts) / len(counts) if counts else 0.0, max(counts, default=0), bool(counts) and stride == 1
    )


def _lines(files: list[Path]) -> Iterator[str]:
    for path in files:
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.strip())


def _token_counts(recipe: Mapping[str, Any], lines: Iterator[str]) -> list[int]:
    path = Path(str(recipe.get("model_name_or_path"))) / "tokenizer.json"
    if not path.is_file():
        return []
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    conversations = [row["messages"] for row in map(json.loads, lines) if isinstance(row, dict) and row.get("messages")]
    texts = [[str(turn.get("content", "")) for turn in turns] for turns in conversations]
    flat = tokenizer.encode_batch([text for turns in texts for text in turns], add_special_tokens=False)
    sizes = iter(len(encoded) for encoded in flat)
    return [sum(next(sizes) + _TURN for _ in turns) for turns in texts]
