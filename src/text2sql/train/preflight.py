"""Checks of model, data, folder and disk; each failure is one line that says what to do."""

import difflib
import re
import shutil
from math import prod
from pathlib import Path

from text2sql.artifacts import digest
from text2sql.checkpoint.model import check_adapter, check_model, folder_shapes
from text2sql.errors import UserError
from text2sql.recipe import Recipe
from text2sql.recipe.keys import data_files, deepspeed_settings, is_lora, names

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+\Z")


def model_folder(recipe: Recipe, where: Path) -> Path | None:
    """The base model's folder, checked to be whole; None for a hub name, which LLaMA-Factory fetches itself.

    Raises:
        UserError: there is no such folder, or it lacks its configuration, its tokenizer or a shard.
    """
    name = recipe.get("model_name_or_path")
    if not name:
        raise UserError(f"{where}: model_name_or_path is missing; name a model folder, for example models/tiny-base")
    folder = Path(str(name))
    if not folder.is_dir() and _HUB_ID.fullmatch(str(name)) and not Path(folder.parts[0]).is_dir():
        return None
    check_model(folder, weights=not recipe.get("train_from_scratch"))
    return folder


def check_adapters(recipe: Recipe, base: Path | None) -> None:
    """Refuse adapters that do not exist or fit the base, or whose recipe trains no adapter."""
    for name in names(recipe.get("adapter_name_or_path")):
        if recipe.get("finetuning_type", "lora") == "full":
            raise UserError(
                f"{name}: finetuning_type: full trains no adapter; merge it first (bash scripts/merge_hf_lora.sh) and "
                "train the merged model"
            )
        check_adapter(Path(name), base)


def check_targets(recipe: Recipe, where: Path, base: Path | None) -> None:
    """Refuse a ``lora_target`` that names no module of the base.

    Raises:
        UserError: names it, and the nearest that there is.
    """
    targets = set(names(recipe.get("lora_target"))) - {"all"}
    if not is_lora(recipe) or base is None or not targets:
        return
    modules = {name.removesuffix(".weight") for name in folder_shapes(base)}
    known = sorted({module.rpartition(".")[2] for module in modules})
    for target in sorted(targets):
        if modules and not any(module == target or module.endswith(f".{target}") for module in modules):
            near = difflib.get_close_matches(target, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise UserError(f"{where}: lora_target {target!r}: {base} has no such layer; {hint}")


def check_resume(recipe: Recipe) -> None:
    """Refuse a ``resume_from_checkpoint`` that is not whole, or of another kind of fine-tuning."""
    name = recipe.get("resume_from_checkpoint")
    if not isinstance(name, str):
        return
    checkpoint, kind = Path(name), recipe.get("finetuning_type", "lora")
    if not (checkpoint / "trainer_state.json").is_file():
        raise UserError(f"resume_from_checkpoint: {checkpoint} is no whole checkpoint; runs resume without this key")
    if (checkpoint / "adapter_config.json").is_file() != (kind in ("lora", "oft")):
        raise UserError(f"resume_from_checkpoint: {checkpoint} is not of a {kind} run, which this recipe is")


def data_hashes(recipe: Recipe, where: Path) -> dict[str, str]:
    """Digest of each data set's files, checked as :func:`data_files` does, of held-out questions and DeepSpeed's settings."""
    hashes = {}
    for name, path in data_files(recipe, where):
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        hashes[name] = digest(*files)
    if recipe.get("eval_examples"):
        path = Path(str(recipe["eval_examples"]))
        if not path.is_file():
            raise UserError(f"{where}: eval_examples {path}: no such file; data recipes write it for each split")
        hashes["eval_examples"] = digest(path)
    if deepspeed_settings(recipe, where) and isinstance(recipe["deepspeed"], str):
        hashes["deepspeed"] = digest(Path(recipe["deepspeed"]))
    return hashes


def check_output(recipe: Recipe, where: Path, base: Path | None, key: str = "output_dir") -> Path:
    """The output folder, checked to hold nothing that may not be overwritten.

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
    """Refuse a disk that cannot hold the checkpoints: weights, and twelve bytes for each trained parameter."""
    if base is None:
        return
    parameters = sum(prod(shape) for shape in folder_shapes(base).values())
    trained = parameters * (0.02 if is_lora(recipe) else 1.0)
    one = trained * (4 if recipe.get("save_only_model") else 16)
    needed = one * (int(recipe.get("save_total_limit") or 2) + 1) + (64 << 20)
    ways = "set save_only_model=true or a smaller save_total_limit, or give output_dir on another disk"
    check_free(output_dir, needed, f"checkpoints; free some space, {ways}")


def check_free(folder: Path, needed: float, what: str) -> None:
    """Refuse a disk that has fewer than ``needed`` bytes free where ``folder`` is, or will be.

    Raises:
        UserError: says how many there are, and for ``what`` they are needed.
    """
    place = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise UserError(f"{place}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed for {what}")
