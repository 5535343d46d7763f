"""Checks what a Megatron recipe needs: packages, GPUs, sizes that divide, memory."""

import logging
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.plan.estimate import Estimate, estimate
from text2sql.recipe.megatron import adapter_is_here
from text2sql.train.machine import check_memory

logger = logging.getLogger("text2sql.megatron")

_SOURCE = (
    "its home is the folder mcore_adapter of the repository alibaba/ROLL: "
    'pip install "git+https://github.com/alibaba/ROLL.git#subdirectory=mcore_adapter"'
)


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
    check_memory(result, recipe, where, processes)
    layout, optimizer, batch = result.layout.describe(), recipe.get("optimizer", "adam"), result.batch.global_sequences
    logger.info("layout: %s, optimizer %s, global batch %d sequences", layout, optimizer, batch)
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


def check_packages(recipe: Mapping[str, Any], where: Path) -> None:
    """Require Megatron core, mcore_adapter, and Transformer Engine unless the recipe does without it.

    Raises:
        UserError: one is missing, or the package index's namesake of mcore_adapter is installed.
    """
    if not _version_of("megatron-core"):
        raise UserError("megatron-core is not installed; run `bash scripts/setup.sh train`")
    if not adapter_is_here() and (found := _version_of("mcore_adapter")):
        raise UserError(
            f"mcore_adapter {found} is not the one that Megatron needs but a namesake from the package index; "
            f"pip uninstall mcore-adapter, then install it: {_SOURCE}"
        )
    if not adapter_is_here():
        raise UserError(f"mcore_adapter is not installed; the package index has only another project's; {_SOURCE}")
    if recipe.get("transformer_impl", "transformer_engine") == "local":
        _check_local(recipe, where)
    elif find_spec("transformer_engine") is None:
        raise UserError(
            f"{where}: Transformer Engine is not installed (pip install --no-build-isolation transformer_engine[pytorch]); "
            "without it: transformer_impl=local sequence_parallel=false use_distributed_optimizer=false"
        )


def _check_local(recipe: Mapping[str, Any], where: Path) -> None:
    for key in ("sequence_parallel", "sequence_packing", "neat_packing"):
        if recipe.get(key):
            raise UserError(f"{where}: {key} needs Transformer Engine, and transformer_impl is local; set {key}=false")
    if recipe.get("use_distributed_optimizer") and not recipe.get("save_only_model"):
        raise UserError(
            f"{where}: with transformer_impl: local a run with use_distributed_optimizer cannot be resumed; set "
            "use_distributed_optimizer=false, or save_only_model=true"
        )


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
