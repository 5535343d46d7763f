"""Checks of a recipe against the machine: GPUs, their driver, precision, kernels and memory."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.plan.advice import advise
from text2sql.plan.estimate import Estimate
from text2sql.plan.layout import gpu_capability, gpu_memory
from text2sql.recipe import Recipe
from text2sql.recipe.keys import deepspeed_settings, evaluates

_BF16 = (8, 0)
_DOUBT = 1.1  # an estimate this much above the memory may still be wrong


def fit_device(recipe: Recipe, where: Path, gpus: int) -> tuple[Recipe, str]:
    """The recipe as this machine can run it, and a note on what was changed (empty: nothing).

    DeepSpeed on a CPU computes in fp32 and chooses the device itself (with ``use_cpu`` processes would not communicate),
    except with tensor parallelism, which needs ``use_cpu`` and the gloo backend.

    Raises:
        UserError: the recipe is for GPUs and there are none or too old ones, or its DeepSpeed settings are missing or cannot
            work.
    """
    deepspeed = deepspeed_settings(recipe, where)
    if gpus:
        _check_precision(recipe, where)
        return recipe, ""
    if not recipe.get("use_cpu"):
        for key in ("bf16", "fp16", "pure_bf16", "quantization_bit", "enable_liger_kernel"):
            if recipe.get(key):
                raise UserError(
                    f"{where}: this recipe is for GPUs ({key}: {recipe[key]}) and torch sees none here; {_why_no_gpu()}"
                )
    elif "tensor_parallel" in deepspeed and recipe.get("ddp_backend") != "gloo":
        return {**recipe, "ddp_backend": "gloo"}, "tensor parallelism on CPUs goes over gloo: ddp_backend=gloo"
    elif deepspeed and "tensor_parallel" not in deepspeed:
        changed = {key: False for key in ("use_cpu", "bf16", "fp16") if recipe.get(key)}
        changes = " ".join(f"{key}=false" for key in changed)
        return {**recipe, **changed}, f"DeepSpeed on a CPU runs in fp32 and chooses the device itself: {changes}"
    return recipe, ""


def _check_precision(recipe: Mapping[str, Any], where: Path) -> None:
    """transformers lets older GPUs emulate bfloat16, which takes many times as long."""
    key = next((key for key in ("bf16", "pure_bf16") if recipe.get(key)), None)
    if key is None or recipe.get("use_cpu") or (found := gpu_capability()) >= _BF16:
        return
    raise UserError(
        f"{where}: {key}: true needs GPUs of compute capability 8.0 (Ampere) or newer, and here is {found[0]}.{found[1]}; "
        f"set {key}=false fp16=true"
    )


def _why_no_gpu() -> str:
    """What to do where torch sees no GPU: by the CUDA versions of its build and of the driver."""
    driver, build = driver_cuda(), cuda_build()
    if driver is None:
        return "take its twin in recipes/tiny, or check nvidia-smi and CUDA_VISIBLE_DEVICES"
    if build is None:
        return "there is a driver, but this torch is built for CPUs; run `TEXT2SQL_DEVICE=cuda bash scripts/setup.sh train`"
    if int(driver.split(".")[0]) < int(build.split(".")[0]):
        return f"its driver knows CUDA {driver}, and this torch is built for {build}; update the NVIDIA driver"
    return "check nvidia-smi and CUDA_VISIBLE_DEVICES"


def driver_cuda() -> str | None:
    """The CUDA version up to which the NVIDIA driver works, as nvidia-smi says it; None without a driver.

    Builds for later minor versions of the same major version run too.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        said = subprocess.run([program], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"CUDA Version:\s*(\d+\.\d+)", said)
    return found[1] if found else None


def cuda_build() -> str | None:
    """The CUDA version that torch is built for; None for a build for CPUs."""
    import torch

    version: str | None = torch.version.cuda
    return version


def check_memory(result: Estimate, recipe: Mapping[str, Any], where: Path, processes: int) -> None:
    """Refuse GPUs that are smaller than the estimate, unless the recipe says ``check_memory: false``.

    Raises:
        UserError: says what is needed, and what to change.
    """
    memory = gpu_memory() / 1e9
    if result.fits(_DOUBT * memory) or not recipe.get("check_memory", True):
        return
    advice = advise(recipe, where, processes, memory)
    changes = " ".join(change for change, _ in advice) if advice and advice[-1][1].fits(memory) else ""
    share = f", {100 * result.vllm_share:.0f} % of it vLLM's" if result.vllm_share else ""
    raise UserError(
        f"{where}: needs about {result.peak / 1e9:.0f} GB a GPU (at the {result.worst}), which have {memory:.0f}{share}; "
        f"{f'set {changes}' if changes else 'more or larger GPUs are needed'} (text2sql plan {where} --gpus {processes} says "
        "what for), or check_memory=false to try it"
    )


def check_attention(recipe: Recipe, where: Path) -> None:
    """Refuse ``flash_attn: fa2`` where LLaMA-Factory would silently train without it, and packed batches that it fails on.

    flash-attn takes the borders of packed examples from their positions, which works for one sequence a batch. LLaMA-Factory
    fails at the first larger batch, and evaluation's default is eight.

    Raises:
        UserError: names the key, and what to write instead.
    """
    from transformers.utils import is_flash_attn_2_available

    if recipe.get("flash_attn") != "fa2":
        return
    if not is_flash_attn_2_available():
        raise UserError(
            f"{where}: flash_attn: fa2 asks for flash-attn, which is not installed or finds no GPU; install it (pip install "
            "--no-build-isolation flash-attn), or set flash_attn=auto"
        )
    batches = {"per_device_train_batch_size": True, "per_device_eval_batch_size": evaluates(recipe)}
    for key, used in batches.items():
        if recipe.get("neat_packing") and used and int(recipe.get(key, 8)) != 1:
            raise UserError(
                f"{where}: neat_packing with flash_attn: fa2 takes one sequence a batch; set {key}=1 (and a larger cutoff_len), "
                "or flash_attn=auto"
            )
