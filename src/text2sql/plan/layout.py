"""What a machine offers, and how a recipe spreads a model over its processes: data x tensor x pipeline, and what is sharded."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from text2sql.checkpoint.shape import Shape
from text2sql.errors import UserError
from text2sql.recipe.keys import deepspeed_settings, tensor_parallel


def gpu_count() -> int:
    """How many CUDA devices torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpu_memory() -> float:
    """Bytes of the smallest GPU; 0 without one."""
    import torch

    sizes = (torch.cuda.get_device_properties(number).total_memory for number in range(gpu_count()))
    return float(min(sizes, default=0))


def gpu_capability() -> tuple[int, int]:
    """Compute capability of the oldest GPU."""
    import torch

    found: list[tuple[int, int]] = [torch.cuda.get_device_capability(number) for number in range(gpu_count())]
    return min(found)


_MEGATRON = ("tensor_model_parallel_size", "pipeline_model_parallel_size", "use_distributed_optimizer", "use_mca")


@dataclass(frozen=True)
class Layout:
    """Processes, and what each of them holds. ``plain`` is PyTorch's data parallelism, or one process.

    ``zero``: ZeRO stage; under Megatron 1 for its distributed optimizer, which shards what ZeRO-1 shards.
    """

    engine: Literal["plain", "deepspeed", "megatron"]
    processes: int
    tensor: int = 1
    pipeline: int = 1
    zero: int = 0
    sequence_parallel: bool = False
    offload_optimizer: bool = False
    offload_parameters: bool = False
    bucket: int = 0  # elements of the reduction buffer; 0: hidden size squared, as "auto" is
    live: int = 1_000_000_000  # elements that ZeRO-3 keeps gathered

    @property
    def data(self) -> int:
        """Data-parallel size: copies of the model that see different examples."""
        return self.processes // (self.tensor * self.pipeline)

    def describe(self) -> str:
        """One line: ``data 2 x tensor 2 x pipeline 1, DeepSpeed ZeRO-2``."""
        megatron = "Megatron, distributed optimizer" if self.zero else "Megatron"
        sharding = {"plain": "PyTorch", "deepspeed": f"DeepSpeed ZeRO-{self.zero}", "megatron": megatron}[self.engine]
        return f"data {self.data} x tensor {self.tensor} x pipeline {self.pipeline}, {sharding}"


def read_layout(recipe: Mapping[str, Any], where: Path, shape: Shape, processes: int) -> Layout:
    """The layout of a recipe on ``processes`` processes.

    Raises:
        UserError: sizes do not divide, or the DeepSpeed settings cannot be read.
    """
    if any(recipe.get(key) for key in _MEGATRON) or os.environ.get("USE_MCA", "").lower() in ("1", "true"):
        layout = Layout(
            "megatron",
            processes,
            tensor=int(recipe.get("tensor_model_parallel_size") or 1),
            pipeline=int(recipe.get("pipeline_model_parallel_size") or 1),
            zero=1 if recipe.get("use_distributed_optimizer") else 0,
            sequence_parallel=bool(recipe.get("sequence_parallel")),
        )
    elif settings := deepspeed_settings(recipe, where):
        layout = _deepspeed(settings, where, processes)
    else:
        layout = Layout("plain", processes)
    _check(layout, where, shape)
    return layout


def _deepspeed(settings: Mapping[str, Any], where: Path, processes: int) -> Layout:
    zero = settings.get("zero_optimization") or {}
    offloads = [(zero.get(key) or {}).get("device", "none") for key in ("offload_optimizer", "offload_param")]
    try:
        return Layout(
            "deepspeed",
            processes,
            tensor=tensor_parallel(settings),
            zero=int(zero.get("stage", 0)),
            offload_optimizer=offloads[0] not in ("none", None),
            offload_parameters=offloads[1] not in ("none", None),
            bucket=_number(zero.get("reduce_bucket_size", 500_000_000), 0),
            live=_number(zero.get("stage3_max_live_parameters", 1_000_000_000), 1_000_000_000),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: deepspeed: settings that cannot be read ({error})") from error


def _number(value: Any, automatic: int) -> int:
    return automatic if value == "auto" else int(float(value))


def _check(layout: Layout, where: Path, shape: Shape) -> None:
    unit = layout.tensor * layout.pipeline
    if layout.processes % unit:
        raise UserError(
            f"{where}: tensor {layout.tensor} x pipeline {layout.pipeline} needs {unit}, {2 * unit}, {3 * unit} ... "
            f"processes (GPUs), not {layout.processes}"
        )
    for what, size in (("attention heads", shape.heads), ("key-value heads", shape.kv_heads)):
        # DeepSpeed can give processes different numbers of heads, but each process needs one.
        if (layout.engine == "megatron" and size % layout.tensor) or size < layout.tensor:
            raise UserError(f"{where}: the model's {size} {what} do not divide by tensor parallel {layout.tensor}")
    if shape.layers % layout.pipeline:
        raise UserError(f"{where}: the model's {shape.layers} layers do not divide by pipeline {layout.pipeline}")
