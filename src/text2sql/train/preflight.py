"""Checks that need the machine: model, data, device, folder and disk. Each failure is one line with a way out."""

import json
import re
import shutil
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.weights import check_adapter_fits, check_index, fingerprint, folder_shapes

Recipe = dict[str, Any]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+\Z")


def names(value: Any) -> list[str]:
    """A comma-separated key of LLaMA-Factory as a list."""
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [str(part).strip() for part in parts if str(part).strip()]


def gpu_count() -> int:
    """How many CUDA devices torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def model_folder(recipe: Recipe, where: Path) -> Path | None:
    """The base model's folder, checked to be whole; None for a hub name, which LLaMA-Factory fetches itself.

    Raises:
        UserError: there is no such folder, or it lacks its configuration, its tokenizer or a shard.
    """
    name = recipe.get("model_name_or_path")
    if not name:
        raise UserError(f"{where}: model_name_or_path is missing; name a model folder, for example models/tiny-base")
    folder = Path(str(name))
    if not folder.is_dir():
        if _HUB_ID.fullmatch(str(name)) and not Path(folder.parts[0]).is_dir():
            return None
        raise UserError(
            f"{folder}: no such model folder; fetch it with `bash scripts/download_model.sh` (without network: copy the "
            f"model's files there), or give another with model_name_or_path="
        )
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} holds an adapter, not a model; name its base as model_name_or_path and it as adapter_name_or_path"
        )
    for file in ("config.json", "tokenizer_config.json"):
        if not (folder / file).is_file():
            raise UserError(f"{folder}: no {file} in it, so it is not a whole model; download or copy it again")
    check_index(folder)
    if not recipe.get("train_from_scratch") and not folder_shapes(folder) and not any(folder.glob("*.bin")):
        raise UserError(f"{folder}: no weights in it; download or copy the model again")
    return folder


def check_adapters(recipe: Recipe, base: Path | None) -> None:
    """Every adapter that the recipe names exists and fits the base, and the recipe trains adapters."""
    kind = recipe.get("finetuning_type", "lora")
    for name in names(recipe.get("adapter_name_or_path")):
        adapter = Path(name)
        if kind == "full":
            raise UserError(
                f"{adapter}: finetuning_type: full trains no adapter; merge it first (bash scripts/merge_hf_lora.sh) and "
                "train the merged model"
            )
        if not (adapter / "adapter_config.json").is_file():
            raise UserError(f"{adapter}: no adapter there; train one first (bash scripts/qwen3_1p7B_train.sh --help)")
        if base is not None:
            check_adapter_fits(adapter, base)


def check_resume(recipe: Recipe) -> None:
    """A checkpoint that the recipe itself resumes from is whole and of the same kind of fine-tuning."""
    name = recipe.get("resume_from_checkpoint")
    if not isinstance(name, str):
        return
    checkpoint, kind = Path(name), recipe.get("finetuning_type", "lora")
    if not (checkpoint / "trainer_state.json").is_file():
        raise UserError(f"resume_from_checkpoint: {checkpoint} is no whole checkpoint; runs resume without this key")
    if (checkpoint / "adapter_config.json").is_file() != (kind in ("lora", "oft")):
        raise UserError(f"resume_from_checkpoint: {checkpoint} is not of a {kind} run, which this recipe is")


def data_files(recipe: Recipe, where: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of every data set that the recipe trains or evaluates on; hub data sets have no file and are left out.

    Raises:
        UserError: ``dataset_info.json`` does not know the name, or the file is missing (with the command that makes it).
    """
    folder = Path(str(recipe.get("dataset_dir", "data")))
    info_path = folder / "dataset_info.json"
    if not info_path.is_file():
        raise UserError(f"{where}: {info_path} is missing; dataset_dir names the folder that holds it")
    try:
        known = json.loads(info_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{info_path}: not JSON ({error})") from error
    for key in ("dataset", "eval_dataset"):
        for name in names(recipe.get(key)):
            if name not in known:
                raise UserError(
                    f"{where}: {key} {name!r} is not in {info_path}, which knows {', '.join(sorted(known))}"
                )
            if "file_name" not in known[name]:
                continue
            path = folder / known[name]["file_name"]
            if not path.exists():
                maker = Path("recipes/data") / f"{name.split('_')[0]}.yaml"
                how = (
                    f"bash scripts/prepare_data.sh {maker}"
                    if maker.is_file()
                    else "bash scripts/prepare_data.sh --help"
                )
                raise UserError(f"{path}: data set {name!r} is not prepared; make it with `{how}`")
            if path.is_file() and path.stat().st_size == 0:
                raise UserError(f"{path}: data set {name!r} is empty; prepare it again")
            yield name, path


def data_hashes(recipe: Recipe, where: Path) -> dict[str, str]:
    """Hash of each data file by data set name, checked as :func:`data_files` does; DeepSpeed's settings count as data."""
    hashes = {}
    for name, path in data_files(recipe, where):
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        hashes[name] = "".join(fingerprint(file) for file in files)
    if deepspeed_settings(recipe, where) and isinstance(recipe["deepspeed"], str):
        hashes["deepspeed"] = fingerprint(Path(recipe["deepspeed"]))
    return hashes


def fit_device(recipe: Recipe, where: Path, gpus: int) -> tuple[Recipe, str]:
    """The recipe as this machine can run it, and a note on what was changed (empty: nothing).

    DeepSpeed on a CPU takes fp32 and picks the device itself (``use_cpu`` would leave each process alone), except with
    tensor parallelism, which wants ``use_cpu`` and the gloo backend.

    Raises:
        UserError: the recipe is for GPUs and there are none, or its DeepSpeed settings are missing or cannot work.
    """
    deepspeed = deepspeed_settings(recipe, where)
    if recipe.get("use_cpu") and not gpus and "tensor_parallel" in deepspeed:
        if recipe.get("ddp_backend") != "gloo":
            return {**recipe, "ddp_backend": "gloo"}, "tensor parallelism on CPUs goes over gloo: ddp_backend=gloo"
    elif recipe.get("use_cpu") and deepspeed and not gpus:
        changed = {key: False for key in ("use_cpu", "bf16", "fp16") if recipe.get(key)}
        changes = " ".join(f"{key}=false" for key in changed)
        return {**recipe, **changed}, f"DeepSpeed on a CPU runs in fp32 and chooses the device itself: {changes}"
    if not gpus and not recipe.get("use_cpu"):
        for key in ("bf16", "fp16", "pure_bf16", "quantization_bit", "enable_liger_kernel"):
            if recipe.get(key):
                raise UserError(
                    f"{where}: this recipe is for GPUs ({key}: {recipe[key]}) and torch sees none here; take its twin in "
                    "recipes/tiny, or check nvidia-smi and CUDA_VISIBLE_DEVICES"
                )
    return recipe, ""


def check_attention(recipe: Recipe, where: Path) -> None:
    """Refuse ``flash_attn: fa2`` where LLaMA-Factory would go on without it, and packed sequences that it stops at.

    flash-attn takes the borders of packed examples from their positions, which works for one sequence a batch; LLaMA-Factory
    stops at the first batch of more, and evaluation's is eight by default.

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
    evaluates = recipe.get("do_eval") or recipe.get("eval_strategy", "no") not in ("no", False)
    batches = {"per_device_train_batch_size": True, "per_device_eval_batch_size": evaluates}
    for key, used in batches.items():
        if recipe.get("neat_packing") and used and int(recipe.get(key, 8)) != 1:
            raise UserError(
                f"{where}: neat_packing with flash_attn: fa2 takes one sequence a batch; set {key}=1 (and a larger cutoff_len), "
                "or flash_attn=auto"
            )


def deepspeed_settings(recipe: Recipe, where: Path) -> dict[str, Any]:
    """The contents of the recipe's DeepSpeed settings; empty where it has none.

    Raises:
        UserError: there is no such file, it is not JSON, or LoRA could not train with it.
    """
    settings = recipe.get("deepspeed")
    if isinstance(settings, str):
        path = Path(settings)
        if not path.is_file():
            raise UserError(f"{where}: deepspeed: {path}: no such file; recipes/deepspeed has some")
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: not JSON ({error})") from error
    settings = settings or {}
    if (
        settings
        and recipe.get("finetuning_type", "lora") == "lora"
        and not settings.keys() & {"optimizer", "scheduler"}
    ):
        raise UserError(
            f'{where}: deepspeed: LoRA under DeepSpeed needs an "optimizer" section in its settings, or the learning rate '
            "scheduler fails at the first step; recipes/deepspeed/zero3.json has one"
        )
    return dict(settings)


def check_output(recipe: Recipe, where: Path, base: Path | None, key: str = "output_dir") -> Path:
    """The output folder, checked to be a place that may be written to and emptied.

    Raises:
        UserError: the key is missing, or the folder is or holds the base model, the repository or data.
    """
    if not recipe.get(key):
        raise UserError(f"{where}: {key} is missing, for example {key}=outputs/tiny/my_run")
    folder = Path(str(recipe[key]))
    taken = [Path.cwd(), Path(str(recipe.get("dataset_dir", "data")))]
    taken += [Path(name) for name in names(recipe.get("adapter_name_or_path"))] + ([base] if base else [])
    for other in taken:
        if other.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{where}: {key} {folder} is or holds {other}; give a folder of its own")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{where}: {key} {folder} is a file")
    return folder


def check_disk(recipe: Recipe, output_dir: Path, base: Path | None) -> None:
    """Refuse to start when the disk cannot hold the checkpoints: weights, and twelve bytes a trained parameter."""
    if base is None:
        return
    parameters = sum(prod(shape) for shape in folder_shapes(base).values())
    trained = parameters * (0.02 if recipe.get("finetuning_type", "lora") == "lora" else 1.0)
    one = trained * (4 if recipe.get("save_only_model") else 16)
    needed = one * (int(recipe.get("save_total_limit") or 2) + 1) + (64 << 20)
    place = next(folder for folder in (output_dir.resolve(), *output_dir.resolve().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise UserError(
            f"{place}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed for checkpoints; free some space, set "
            "save_only_model=true or a smaller save_total_limit, or give output_dir on another disk"
        )
