"""Batch arithmetic: sequences and tokens a step, steps an epoch, the examples' lengths, and operations (FLOPs)."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from text2sql.checkpoint.shape import Shape
from text2sql.errors import UserError
from text2sql.plan.layout import Layout
from text2sql.recipe.keys import data_files

_SAMPLE = 8_000
_TURN = 5  # tokens around a turn: <|im_start|>, role, line feed, <|im_end|>, line feed
_FULL = 0.98  # the share of a packed sequence that is text, measured with Spider's training questions


@dataclass(frozen=True)
class Lengths:
    """Number of examples, and their mean and largest number of tokens.

    ``exact``: the tokens of all were counted; of more than 8,000 examples only a sample's are.
    """

    examples: int
    mean: float
    longest: int
    exact: bool


@dataclass(frozen=True)
class Batch:
    """Sizes of a training step. Sequences are packed where the recipe packs; steps are None without prepared data.

    ``real_tokens``: tokens a step without padding, None without a tokenizer.
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


def cutoff(recipe: Mapping[str, Any]) -> int:
    """Tokens after which LLaMA-Factory cuts an example off."""
    return int(recipe.get("cutoff_len") or 2048)


def read_batch(recipe: Mapping[str, Any], layout: Layout, length: int, lengths: Lengths | None) -> Batch:
    """The batch of a recipe whose sequences are at most ``length`` tokens long."""
    device = int(recipe.get("per_device_train_batch_size") or 8)
    accumulation = int(recipe.get("gradient_accumulation_steps") or 1)
    sequences = device * accumulation * layout.data
    rows, text = (lengths.examples, lengths.mean) if lengths else (0, 0.0)
    if lengths and (recipe.get("packing") or recipe.get("neat_packing")):
        text = _FULL * cutoff(recipe) if lengths.mean else 0.0
        rows = math.ceil(lengths.examples * lengths.mean / text) if text else 0
    if recipe.get("stage") == "grpo":
        rows *= int(recipe.get("num_generations") or 8)  # sequences are completions, several of a prompt
    per_epoch = math.ceil(math.ceil(rows / (device * layout.data)) / accumulation)
    steps = int(recipe.get("max_steps") or 0)
    if steps <= 0:
        steps = math.ceil(float(recipe.get("num_train_epochs") or 3) * per_epoch)
    return Batch(
        device_sequences=device,
        accumulation=accumulation,
        data=layout.data,
        tokens=sequences * length,
        lengths=lengths,
        real_tokens=round(sequences * text) or None,
        steps_per_epoch=per_epoch or None,
        steps=steps or None,
    )


def read_lengths(recipe: Mapping[str, Any], where: Path) -> Lengths | None:
    """Number and lengths of the training examples, cut off as the recipe says; None where the data are not prepared.

    Lengths are 0 where the model folder has no tokenizer, or the rows are not conversations.

    Raises:
        UserError: a data file is damaged.
    """
    options = {key: value for key, value in recipe.items() if key != "eval_dataset"}
    try:
        files = [path for _, path in data_files(options, where) if path.suffix == ".jsonl"]
    except UserError:
        return None
    rows = sum(sum(1 for line in path.open("rb") if line.strip()) for path in files)
    if not rows:
        return None
    stride = -(-rows // _SAMPLE)
    try:
        lines = (line for path in files for line in path.open(encoding="utf-8") if line.strip())
        sampled = [json.loads(line) for line in islice(lines, 0, None, stride)]
    except ValueError as error:
        raise UserError(
            f"{', '.join(map(str, files))}: a line is not JSON ({error}); prepare the data again"
        ) from error
    conversations = [row["messages"] for row in sampled if isinstance(row, dict) and row.get("messages")]
    tokenizer = Path(str(recipe.get("model_name_or_path"))) / "tokenizer.json"
    counts = token_counts(tokenizer, conversations) if tokenizer.is_file() else []
    counts = [min(count, cutoff(recipe)) for count in counts] or [0]
    examples = min(rows, int(recipe.get("max_samples") or rows) * len(files))
    held = float(recipe.get("val_size") or 0)
    examples -= math.ceil(examples * held) if held < 1 else int(held)
    return Lengths(examples, sum(counts) / len(counts), max(counts), stride == 1 and counts != [0])


def token_counts(tokenizer: Path, conversations: Sequence[Sequence[Mapping[str, Any]]]) -> list[int]:
    """Tokens of conversations in the Qwen chat format; ``tokenizer`` is a model folder's tokenizer.json."""
    from tokenizers import Tokenizer

    texts = [[str(turn.get("content", "")) for turn in turns] for turns in conversations]
    flat = [text for turns in texts for text in turns]
    encoded = Tokenizer.from_file(str(tokenizer)).encode_batch(flat, add_special_tokens=False)
    sizes = iter(len(one.ids) for one in encoded)
    return [sum(next(sizes) + _TURN for _ in turns) for turns in texts]


def training_flops(shape: Shape, lora_parameters: int, lengths: Sequence[int]) -> float:
    """Operations of a forward and a backward pass over examples of these lengths (tokens), nothing recomputed.

    They are the numerator of model FLOPs utilisation.
    Chowdhery et al. 2022, PaLM, appendix B: a weight of a matrix costs 2 a token forward and 4 backward, half of which for
    its own gradient, which a frozen one has not; the output head counts, the embedding's look-up does not. Attention over
    l tokens costs 4 l^2 for each query dimension and layer forward, and twice that backward; half of it, since it is causal.
    ``lora_parameters`` is 0 where all weights learn.
    """
    tokens, squares = sum(lengths), sum(length**2 for length in lengths)
    matrices = shape.layers * shape.layer_matrices + shape.embedding
    weights = 4 * matrices + 6 * lora_parameters if lora_parameters else 6 * matrices
    return tokens * weights + 6 * squares * shape.query * shape.layers
