"""What a process holds beside the model's states while it evaluates, and while GRPO generates.

Liger computes the loss without logits in training only (``skip_logits`` is the model's ``training`` flag), and transformers
asks for the loss of whole sequences in evaluation, so that an evaluation may need more than a training step.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from text2sql.checkpoint.shape import Shape
from text2sql.plan import memory
from text2sql.plan.layout import Layout
from text2sql.plan.memory import Precision, Work
from text2sql.recipe.keys import evaluates


def evaluation_work(recipe: Mapping[str, Any], work: Work) -> Work | None:
    """The input of one forward pass of an evaluation; None where the recipe has none."""
    if not evaluates(recipe):
        return None
    pairs = 2 if recipe.get("stage") in ("dpo", "rm", "kto") else 1
    sequences = pairs * int(recipe.get("per_device_eval_batch_size") or 8)
    return replace(work, sequences=sequences, checkpointing=False, fused_loss=False)


def evaluation_bytes(shape: Shape, layout: Layout, work: Work, precision: Precision, stage: str) -> float:
    """Bytes of an evaluation's tensors: the larger of one layer's and the loss's, and what lasts through both.

    The loss is that of transformers: logits as computed, in fp32, and their log-softmax in fp32, vocabulary-wide for every
    token, and no gradient. GRPO answers questions instead, and keeps keys and values.
    """
    kept = memory.mask_bytes(work, precision.compute) + memory.autocast_bytes(shape, work, precision)
    if stage == "grpo":
        return kept + cache_bytes(shape, work.sequences, work.length, precision)
    layer = memory.layer_bytes(shape, layout, work, precision)
    return kept + max(layer, _logits(shape, layout, work, precision, stage))


def _logits(shape: Shape, layout: Layout, work: Work, precision: Precision, stage: str) -> float:
    copy = 4 if precision.compute < 4 else 0
    each = precision.compute + copy + (0 if stage == "rm" else 4)
    split = layout.tensor if layout.engine == "megatron" else 1
    return work.tokens * shape.vocab * each / split


def cache_bytes(shape: Shape, sequences: int, length: int, precision: Precision) -> float:
    """Keys and values of sequences that are being written, of ``length`` tokens with their prompts."""
    return sequences * length * 2 * shape.layers * shape.key * precision.compute
