"""What a Megatron recipe needs from the machine: GPUs, sizes that divide, memory. Each lack is one line."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.megatron.keys import check_keys
from text2sql.megatron.packages import check_packages
from text2sql.plan import Estimate, estimate

logger = logging.getLogger("text2sql.megatron")

_SLACK = 1.1  # an estimate this much above the memory may still be wrong


def check_recipe(recipe: Mapping[str, Any], where: Path) -> None:
    """Refuse a recipe that Megatron's backend would not do as it says, and a machine without the packages for it.

    Raises:
        UserError: names the key or the package, and what to do.
    """
    check_keys(recipe, where)
    check_packages(recipe, where)


def check_machine(recipe: Mapping[str, Any], where: Path, processes: int, gpus: int) -> Estimate:
    """Refuse sizes that do not divide, and a machine that is too small; returns the estimate.

    Raises:
        UserError: names the numbers, and what to change.
    """
    if not gpus:
        raise UserError(
            f"{where}: Megatron needs NVIDIA GPUs and torch sees none here; tensor parallelism on a CPU is "
            "recipes/tiny/full_sft_zero2_tp.yaml"
        )
    result = estimate(recipe, where, processes)
    _check_sizes(recipe, where, result)
    memory = _gpu_memory()
    if result.peak > _SLACK * memory:
        raise UserError(
            f"{where}: needs about {result.peak / 1e9:.0f} GB a GPU, which have {memory / 1e9:.0f}; python -m text2sql.plan "
            f"{where} --gpus {processes} says what of"
        )
    logger.info(
        "layout: %s, optimizer %s, global batch %d sequences",
        result.layout.describe(), recipe.get("optimizer", "adam"), result.batch.global_sequences,
    )  # fmt: skip
    return result


def _check_sizes(recipe: Mapping[str, Any], where: Path, result: Estimate) -> None:
    layout, shape, batch = result.layout, result.shape, result.batch
    for what, size in (("vocabulary", shape.vocab), ("intermediate size", shape.intermediate)):
        if size % layout.tensor:
            raise UserError(f"{where}: the model's {what} {size} does not divide by tensor parallel {layout.tensor}")
    virtual = int(recipe.get("virtual_pipeline_model_parallel_size") or 1)
    if shape.layers % (layout.pipeline * virtual):
        raise UserError(
            f"{where}: the model's {shape.layers} layers do not divide by pipeline {layout.pipeline} x virtual {virtual}"
        )
    if virtual > 1 and batch.accumulation % layout.pipeline:
        raise UserError(
            f"{where}: gradient_accumulation_steps {batch.accumulation} must divide by pipeline {layout.pipeline} with virtual "
            "pipeline stages"
        )
    if batch.lengths and not recipe.get("neat_packing") and batch.lengths.examples < batch.global_sequences:
        raise UserError(
            f"{where}: a step takes {batch.global_sequences} examples ({batch.device_sequences} x {batch.accumulation} "
            f"accumulated x {batch.data} data parallel), and there are {batch.lengths.examples}; lower the batch"
        )


def _gpu_memory() -> float:
    import torch

    return float(
        min(torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count()))
    )
