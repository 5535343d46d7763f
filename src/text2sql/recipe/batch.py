"""The key ``global_batch``: sequences of one optimizer step, whatever the number of GPUs.

Without it the batch, and with it the number of steps, changes with the machine: a recipe whose evaluations are every 50
steps would never evaluate where eight GPUs make 27 steps of its data.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.recipe.keys import deepspeed_settings, tensor_parallel
from text2sql.recipe.load import Recipe

KEY = "global_batch"
MEGATRON = ("tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size")


def model_parallel(recipe: Mapping[str, Any], where: Path) -> int:
    """How many processes share one copy of the model, and so read the same sequences."""
    size = tensor_parallel(deepspeed_settings(recipe, where))
    for key in MEGATRON:
        size *= int(recipe.get(key) or 1)
    return size


def derive_accumulation(recipe: Mapping[str, Any], where: Path, processes: int) -> Recipe:
    """The recipe as the engine reads it: ``gradient_accumulation_steps`` in place of ``global_batch``.

    The steps are ``global_batch / (per_device_train_batch_size x data-parallel processes)``, where the ``processes`` of all
    machines divide by those that share a model. That they do divide is checked with the layout.

    Raises:
        UserError: the batch is no multiple of what all processes take at a time, or both keys are given and disagree.
    """
    result = {key: value for key, value in recipe.items() if key != KEY}
    if recipe.get(KEY) is None:
        return result
    total, size = int(recipe[KEY]), int(recipe.get("per_device_train_batch_size") or 8)
    data = max(processes // model_parallel(recipe, where), 1)
    at_once = size * data
    product = f"per_device_train_batch_size {size} x {data} data-parallel process{'es' if data > 1 else ''} = {at_once}"
    if total % at_once:
        raise UserError(f"{where}: {KEY} {total} is no multiple of {product}; set {_way_out(total, size, data)}")
    steps, given = total // at_once, recipe.get("gradient_accumulation_steps")
    if given is not None and int(given) != steps:
        raise UserError(
            f"{where}: {KEY} {total} and gradient_accumulation_steps {given} disagree: {product}, and {steps} of that make "
            f"{total}; leave gradient_accumulation_steps out, or set {KEY}={at_once * int(given)}"
        )
    return result | {"gradient_accumulation_steps": steps}


def _way_out(total: int, size: int, data: int) -> str:
    """A smaller batch a process that divides, where the processes do; else the nearest batch that does."""
    if total % data == 0:
        share = total // data
        return f"per_device_train_batch_size={max(n for n in range(1, min(size, share) + 1) if share % n == 0)}"
    return f"{KEY}={max(round(total / (size * data)), 1) * size * data}"
