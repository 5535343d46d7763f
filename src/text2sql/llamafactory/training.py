"""What every training run gets from us: a line that states its real layout, and the right order of examples after a resume.

The layout is read from the live engine, because settings can promise what nobody reads: a tensor-parallel size without a
sharded layer, an optimizer that another one replaced. transformers 4.57 tells its data loader the epoch and then has
accelerate make another loader that skips what was seen and counts epochs from zero, so a run resumed in its second epoch
would shuffle as in its first.
"""

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from accelerate.data_loader import skip_first_batches
from torch import nn
from torch.utils.data import Sampler
from transformers import TrainerCallback

logger = logging.getLogger(__name__)

_SHARDED = {
    "deepspeed.module_inject.layers": ("TensorParallel_Layer",),
    "megatron.core.tensor_parallel.layers": ("ColumnParallelLinear", "RowParallelLinear"),
}


@dataclass(frozen=True)
class Layout:
    """Sizes of the three kinds of parallelism, ZeRO stage (0: none), and sequences of one optimizer step.

    ``sharded`` counts the layers whose weights are split over the tensor-parallel processes.
    """

    data: int
    tensor: int
    pipeline: int
    zero: int
    optimizer: str
    sharded: int
    batch: int

    def __str__(self) -> str:
        processes = self.data * self.tensor * self.pipeline
        zero = f"ZeRO stage {self.zero}" if self.zero else "no ZeRO"
        sharded = f" ({self.sharded} layers sharded)" if self.tensor > 1 else ""
        return (
            f"layout: data {self.data} x tensor {self.tensor}{sharded} x pipeline {self.pipeline} = {processes} "
            f"process{'es' if processes > 1 else ''}, {zero}, optimizer {self.optimizer}, global batch {self.batch} sequences"
        )


def read_layout(model: Any, optimizer: Any, sequences: int) -> Layout:
    """The layout of this process's training; ``sequences`` are those of one data-parallel process in one step."""
    data, tensor, pipeline = _sizes()
    inner = _chain(optimizer)[-1]
    name = f"{type(inner).__module__.partition('.')[0]} {type(inner).__name__}"
    return Layout(data, tensor, pipeline, _zero_stage(optimizer), name, _sharded(model), sequences * data)


def _sizes() -> tuple[int, int, int]:
    """Data-, tensor- and pipeline-parallel sizes of the engine's process groups."""
    if not dist.is_initialized():
        return 1, 1, 1
    megatron = sys.modules.get("megatron.core.parallel_state")
    if megatron is not None and megatron.model_parallel_is_initialized():
        return (
            megatron.get_data_parallel_world_size(),
            megatron.get_tensor_model_parallel_world_size(),
            megatron.get_pipeline_model_parallel_world_size(),
        )
    groups = sys.modules.get("deepspeed.utils.groups")
    if groups is not None and groups._TENSOR_MODEL_PARALLEL_GROUP is not None:
        return groups.get_data_parallel_world_size(), groups.get_tensor_model_parallel_world_size(), 1
    return dist.get_world_size(), 1, 1


def _chain(optimizer: Any) -> list[Any]:
    """An optimizer and those it wraps, outermost first."""
    found = []
    while optimizer is not None and optimizer not in found:
        found.append(optimizer)
        optimizer = getattr(optimizer, "optimizer", None)
    return found


def _zero_stage(optimizer: Any) -> int:
    for part in _chain(optimizer):
        if type(part).__name__ == "DeepSpeedZeroOptimizer_Stage3":
            return 3
        if type(part).__name__ == "DistributedOptimizer":  # Megatron's, which shards what ZeRO-1 shards
            return 1
        if type(part).__name__ == "DeepSpeedZeroOptimizer":
            return 2 if part.partition_gradients else 1
    return 0


def _sharded(model: Any) -> int:
    loaded = [(sys.modules[module], names) for module, names in _SHARDED.items() if module in sys.modules]
    kinds = tuple(getattr(module, name) for module, names in loaded for name in names)
    parts = [model] if isinstance(model, nn.Module) else list(model)  # Megatron's trainer keeps a list of stages
    return sum(isinstance(module, kinds) for part in parts for module in part.modules())


class LayoutCallback(TrainerCallback):  # type: ignore[misc]
    """Logs the layout once, on the first process."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the layout; the engine and its process groups exist by now."""
        if state.is_world_process_zero:
            sequences = args.train_batch_size * args.gradient_accumulation_steps
            logger.info("%s", read_layout(kwargs["model"], kwargs["optimizer"], sequences))


def skip_in_epoch(dataloader: Any, num_batches: int = 0) -> Any:
    """accelerate's ``skip_first_batches``, which here keeps the epoch of the loader given."""
    rest = skip_first_batches(dataloader, num_batches)
    if hasattr(dataloader, "iteration"):
        rest.iteration = dataloader.iteration
    return rest


class EpochOrder(Sampler[int]):  # type: ignore[misc]
    """Another sampler, whose generator is seeded for each epoch instead of once.

    TRL seeds its sampler once, so a run resumed in its second epoch would repeat the order of the first.
    """

    def __init__(self, sampler: Any, seed: int) -> None:
        self._sampler, self._seed, self._epoch = sampler, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate at the start of each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if getattr(self._sampler, "generator", None) is not None:
            self._sampler.generator.manual_seed(self._seed + self._epoch)
        return iter(self._sampler)

    def __len__(self) -> int:
        return len(self._sampler)


def keep_order() -> None:
    """Make transformers' trainer in this process use :func:`skip_in_epoch`; a second call changes nothing."""
    from transformers import trainer

    trainer.skip_first_batches = skip_in_epoch
