"""Estimates a recipe's memory and batch from shape, layout and precision."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from text2sql.checkpoint.shape import Shape, shape_of
from text2sql.errors import UserError
from text2sql.plan import memory
from text2sql.plan.batch import Batch, Lengths, cutoff, read_batch, read_lengths
from text2sql.plan.evaluation import cache_bytes, evaluation_bytes, evaluation_work
from text2sql.plan.layout import Layout, read_layout
from text2sql.plan.memory import Precision, States, Work
from text2sql.recipe.batch import derive_accumulation
from text2sql.recipe.keys import check_sizes, is_lora, names

# Bytes before a model is loaded. In a process on a CPU: Python, PyTorch and LLaMA-Factory, measured with a minimal model.
# On a GPU: the CUDA context, cuBLAS workspaces and, from two processes on, NCCL's buffers; assumed, not measured.
CPU_RESERVE = 0.69e9
GPU_RESERVE = 1.0e9
NCCL_RESERVE = 0.5e9
_NUMBERS = "lora_dropout max_steps val_size beta vllm_gpu_memory_utilization".split()
SLACK = 0.1
"""Share of the counted tensors that allocators leave unused and single operations need briefly; measured on the CPU."""


@dataclass(frozen=True)
class Estimate:
    """Bytes of the fullest process, by what they are used for.

    ``activations`` (with ``loss`` and ``mask``), ``generation``, ``evaluation`` and ``states.gradients`` do not exist all at
    once: see :attr:`peak`. ``evaluated`` is the input of an evaluation, None without one. ``vllm_share`` is the part of a GPU
    that vLLM takes for GRPO's rollouts in the same process.
    """

    shape: Shape
    source: str
    trainable: int
    layout: Layout
    precision: Precision
    work: Work
    states: States
    reference: float
    activations: float
    mask: float
    loss: float
    generation: float
    evaluated: Work | None
    evaluation: float
    vllm_share: float
    reserve: float
    batch: Batch

    @property
    def parameters(self) -> int:
        """All weights of the model, LoRA's matrices included."""
        return self.shape.parameters + (self.trainable if self.work.targets else 0)

    @property
    def moments(self) -> dict[str, float]:
        """Bytes of tensors at the moments that may be the peak.

        Gradients grow in the backward pass while activations shrink, so the first step of an accumulation has its peak
        at either end of the pass; later steps also hold the gradients of earlier ones.
        """
        resident = self.states.weights + self.states.optimizer + self.states.buffers + self.reference
        kept = self.states.gradients if self.work.accumulation > 1 else 0.0
        master = self.layout.engine == "deepspeed" and self.layout.zero > 0  # 16-bit gradients go when fp32 ones come
        moments = {
            "end of the forward pass": resident + kept + self.activations + self.mask + self.loss,
            "optimizer step": resident + self.states.step + (0.0 if master else self.states.gradients),
        }
        if self.generation:
            moments["generation"] = resident + self.generation
        if self.evaluated:
            moments["evaluation"] = resident + self.evaluation
        return moments

    @property
    def worst(self) -> str:
        """The moment of the peak."""
        return max(self.moments, key=lambda moment: self.moments[moment])

    def needed(self, moment: str) -> float:
        """Bytes at a moment, with the framework's own and some slack."""
        return (1 + SLACK) * self.moments[moment] + self.reserve

    @property
    def peak(self) -> float:
        """Bytes at the worst moment."""
        return self.needed(self.worst)

    def fits(self, memory_gb: float) -> bool:
        """Whether the peak stays below what vLLM leaves of ``memory_gb`` (10^9 bytes) of one process."""
        return self.peak <= (1 - self.vllm_share) * memory_gb * 1e9


def estimate(recipe: Mapping[str, Any], where: Path, processes: int = 1) -> Estimate:
    """Estimate a recipe, as :func:`text2sql.recipe.load_recipe` reads it, on ``processes`` processes (GPUs).

    Needs neither the model's weights nor the data; ``where`` is the recipe's path, for messages. Layout, ZeRO stage and
    tensor parallelism come from the recipe's DeepSpeed settings or Megatron keys.

    Raises:
        UserError: the model is unknown, a key's value is no number, or sizes do not divide.
    """
    _check_numbers(recipe, where)
    recipe = derive_accumulation(recipe, where, processes)
    shape, source = shape_of(str(recipe.get("model_name_or_path", "")))
    layout = read_layout(recipe, where, shape, processes)
    precision = memory.precision_of(recipe, layout)
    lora = is_lora(recipe)
    targets = shape.lora_targets(names(recipe.get("lora_target") or "all")) if lora else ()
    trainable = shape.lora_parameters(targets, int(recipe.get("lora_rank") or 8)) if lora else shape.parameters
    lengths = read_lengths(recipe, where)
    work = _work(recipe, targets, layout, lengths)
    stage = str(recipe.get("stage") or "sft")
    loss = memory.loss_bytes(shape, layout, work, precision, stage)
    if stage == "grpo":
        loss *= (_completion(recipe) + 1) / work.length  # logits of completions only
    evaluated = evaluation_work(recipe, work)
    colocated = stage == "grpo" and bool(recipe.get("use_vllm")) and recipe.get("vllm_mode") == "colocate"
    return Estimate(
        shape=shape,
        source=source,
        trainable=trainable,
        layout=layout,
        precision=precision,
        work=work,
        states=memory.states(shape, layout, precision, trainable, str(recipe.get("optim") or "adamw_torch_fused")),
        reference=_reference(recipe, shape, layout, precision, lora),
        activations=memory.activations(shape, layout, work, precision) + memory.autocast_bytes(shape, work, precision),
        mask=memory.mask_bytes(work, precision.compute),
        loss=loss,
        generation=_generation(recipe, shape, work, precision),
        evaluated=evaluated,
        evaluation=evaluation_bytes(shape, layout, evaluated, precision, stage) if evaluated else 0.0,
        vllm_share=float(recipe.get("vllm_gpu_memory_utilization") or 0.3) if colocated else 0.0,
        reserve=CPU_RESERVE if recipe.get("use_cpu") else GPU_RESERVE + NCCL_RESERVE * (layout.processes > 1),
        batch=read_batch(recipe, layout, work.length, lengths),
    )


def _check_numbers(recipe: Mapping[str, Any], where: Path) -> None:
    check_sizes(recipe, where)
    for key in _NUMBERS:
        value = recipe.get(key)
        if value is None or (isinstance(value, int | float) and (value >= 0 or key in ("max_steps", "val_size"))):
            continue
        raise UserError(f"{where}: {key} should be a number from 0 on, not {value!r}")


def _completion(recipe: Mapping[str, Any]) -> int:
    return int(recipe.get("max_completion_length") or 256)


def _work(recipe: Mapping[str, Any], targets: tuple[str, ...], layout: Layout, lengths: Lengths | None) -> Work:
    stage = recipe.get("stage", "sft")
    packing, neat = bool(recipe.get("packing")), bool(recipe.get("neat_packing"))
    length = cutoff(recipe) + (1 if packing or neat else 0)
    if lengths and lengths.exact and not (packing or neat):
        length = min(length, lengths.longest)
    length += _completion(recipe) if stage == "grpo" else 0
    liger = bool(recipe.get("enable_liger_kernel"))
    pairs = 2 if stage in ("dpo", "rm", "kto") else 1
    flash = str(recipe.get("flash_attn") or "auto")
    attention: memory.Attention = "flash"
    if flash == "disabled":
        attention = "eager"
    elif layout.engine != "megatron" and flash != "fa2" and (neat or not packing):
        attention = "block mask" if neat else "padding mask"
    # LLaMA-Factory recomputes activations unless told not to; Megatron only where told to.
    told = recipe.get("recompute_granularity") == "full"
    return Work(
        sequences=pairs * int(recipe.get("per_device_train_batch_size") or 8),
        length=-(-length // 8) * 8,
        attention=attention,
        checkpointing=told if layout.engine == "megatron" else not recipe.get("disable_gradient_checkpointing"),
        liger=liger,
        fused_loss=liger and stage in ("sft", "pt"),
        accumulation=int(recipe.get("gradient_accumulation_steps") or 1),
        targets=targets,
        dropout=float(recipe.get("lora_dropout") or 0) > 0,
    )


def _reference(recipe: Mapping[str, Any], shape: Shape, layout: Layout, precision: Precision, lora: bool) -> float:
    """The frozen model that DPO and GRPO compare with; LoRA disables its adapter instead."""
    stage, sigmoid = recipe.get("stage"), recipe.get("pref_loss", "sigmoid") not in ("orpo", "simpo")
    needed = (stage == "dpo" and sigmoid) or (stage == "grpo" and float(recipe.get("beta") or 0) > 0)
    if lora or not needed:
        return 0.0
    return memory.local_parameters(shape, layout) * precision.compute / (layout.data if layout.zero == 3 else 1)


def _generation(recipe: Mapping[str, Any], shape: Shape, work: Work, precision: Precision) -> float:
    """Keys and values of all completions of a step, which are generated together before GRPO learns; vLLM has its own."""
    if recipe.get("stage") != "grpo" or recipe.get("use_vllm"):
        return 0.0
    completions = work.sequences * int(recipe.get("steps_per_generation") or work.accumulation)
    return cache_bytes(shape, completions, work.length, precision)
