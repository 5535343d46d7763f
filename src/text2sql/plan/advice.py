"""Changes for a recipe that does not fit, cheapest first; each is estimated together with those before it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from text2sql.plan.estimate import Estimate, estimate
from text2sql.recipe.batch import KEY, MEGATRON
from text2sql.recipe.keys import evaluates, is_lora

_EVALUATE_ONE = {"per_device_eval_batch_size": 1}  # the same loss, a little slower
_FOR_MEGATRON = {"per_device_eval_batch_size", "per_device_train_batch_size", "cutoff_len"}
_CHANGES: tuple[dict[str, Any], ...] = (
    _EVALUATE_ONE,
    {"enable_liger_kernel": True},
    {"disable_gradient_checkpointing": False},
    {"steps_per_generation": 1},
    {"per_device_train_batch_size": 1},
    _EVALUATE_ONE,
    {"deepspeed": "recipes/deepspeed/zero2.json"},
    {"deepspeed": "recipes/deepspeed/zero3.json"},
    {"cutoff_len": 1024},
    {"finetuning_type": "lora", "lora_target": "all", "lora_rank": 32},
    {"deepspeed": None, "quantization_bit": 4},
)


def advise(recipe: Mapping[str, Any], where: Path, processes: int, memory_gb: float) -> list[tuple[str, Estimate]]:
    """Overrides that lower the peak, up to the first that fits, each with the estimate of all so far."""
    current = dict(recipe)
    peak = estimate(current, where, processes).peak
    advice = []
    for change in _CHANGES:
        if not _applies(change, current, processes):
            continue
        changed = current | _adapt(current, change)
        lower = estimate(changed, where, processes)
        if lower.peak > 0.97 * peak:
            continue
        shown = {key: value for key, value in changed.items() if current.get(key) != value}
        advice.append((" ".join(f"{key}={_yaml(value)}" for key, value in shown.items()), lower))
        current, peak = changed, lower.peak
        if lower.fits(memory_gb):
            break
    return advice


def _applies(change: Mapping[str, Any], recipe: Mapping[str, Any], processes: int) -> bool:
    if any(recipe.get(key) for key in MEGATRON) and not change.keys() <= _FOR_MEGATRON:
        return False
    if change is _EVALUATE_ONE:
        return evaluates(recipe)
    if "steps_per_generation" in change:
        groups = int(recipe.get("per_device_train_batch_size") or 8) * processes
        return recipe.get("stage") == "grpo" and groups % _group(recipe) == 0
    if change.get("deepspeed"):
        return processes > 1
    if "enable_liger_kernel" in change:
        return not recipe.get("use_cpu")
    if "quantization_bit" in change:
        return is_lora(recipe) and not recipe.get("use_cpu")
    return "lora_rank" not in change or not is_lora(recipe)


def _group(recipe: Mapping[str, Any]) -> int:
    return int(recipe.get("num_generations") or 8)


def _adapt(recipe: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The change, so that the global batch stays where the device's becomes smaller, and GRPO generates whole groups."""
    device = int(recipe.get("per_device_train_batch_size") or 8)
    smaller = change.get("per_device_train_batch_size")
    if smaller is None:
        return dict(change)
    if recipe.get("stage") == "grpo" and recipe.get("steps_per_generation"):
        smaller = _group(recipe)
    if smaller >= device:
        return {}
    if recipe.get(KEY):
        return {"per_device_train_batch_size": smaller}
    accumulation = int(recipe.get("gradient_accumulation_steps") or 1) * device // smaller
    return {"per_device_train_batch_size": smaller, "gradient_accumulation_steps": accumulation}


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
