"""LLaMA-Factory's keys, its data sets and torchrun's environment variables, read in one way by every room that looks at them."""

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from text2sql.errors import UserError
from text2sql.recipe.load import Recipe

OWN: dict[str, Any] = {"global_batch": int | None, "check_memory": bool}
"""Keys of training recipes that are ours, with their types; the engine's recipe has what follows from them."""

_SIZES = (
    "cutoff_len eval_steps global_batch gradient_accumulation_steps logging_steps lora_alpha lora_rank max_completion_length "
    "max_new_tokens max_samples num_train_epochs per_device_eval_batch_size per_device_train_batch_size "
    "pipeline_model_parallel_size save_steps save_total_limit steps_per_generation tensor_model_parallel_size"
).split()


def names(value: Any) -> list[str]:
    """A comma-separated key of LLaMA-Factory as a list."""
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [str(part).strip() for part in parts if str(part).strip()]


def import_module(name: str, what: str) -> ModuleType:
    """A user's module, from PYTHONPATH or the folder where the command runs; ``what`` says in an error whose name it is.

    Raises:
        UserError: it cannot be imported.
    """
    if str(Path.cwd()) not in sys.path:  # a launcher's own folder is there instead of the user's
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (ImportError, ValueError) as error:
        raise UserError(f"{what}: cannot import {name} ({error}); is its folder on PYTHONPATH?") from error


def whole_number(given: Mapping[str, str], key: str, default: int, least: int = 1) -> int:
    """An environment variable as a number.

    Raises:
        UserError: it is no whole number, or below ``least``.
    """
    text = given.get(key, str(default))
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{key}={text}: a whole number from {least} on is needed")
    return int(text)


def is_lora(recipe: Mapping[str, Any]) -> bool:
    """Whether the recipe trains LoRA matrices, which is LLaMA-Factory's default."""
    return str(recipe.get("finetuning_type", "lora")) == "lora"


def evaluates(recipe: Mapping[str, Any]) -> bool:
    """Whether the recipe evaluates, in training or after it."""
    return bool(recipe.get("do_eval")) or str(recipe.get("eval_strategy") or "no") not in ("no", "False")


def check_sizes(recipe: Mapping[str, Any], where: Path) -> None:
    """Refuse sizes and intervals that are not above 0; the engine fails late on them, or takes another value.

    Raises:
        UserError: names the key.
    """
    for key in _SIZES:
        value = recipe.get(key)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0):
            continue
        raise UserError(f"{where}: {key} should be a number above 0, not {value!r}")
    if recipe.get("max_steps") == 0:
        raise UserError(
            f"{where}: max_steps: 0 steps train nothing; set 1 or more, or leave it out for num_train_epochs"
        )


def deepspeed_settings(recipe: Mapping[str, Any], where: Path) -> Recipe:
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
    if settings and is_lora(recipe) and not settings.keys() & {"optimizer", "scheduler"}:
        raise UserError(
            f'{where}: deepspeed: LoRA under DeepSpeed needs an "optimizer" section in its settings, or the learning rate '
            "scheduler fails at the first step; recipes/deepspeed/zero3.json has one"
        )
    return dict(settings)


def tensor_parallel(settings: Mapping[str, Any]) -> int:
    """Over how many processes DeepSpeed's settings split each layer; 1 where they don't."""
    return int((settings.get("tensor_parallel") or {}).get("autotp_size", 1))


def data_files(recipe: Mapping[str, Any], where: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of every data set that the recipe trains or evaluates on; hub data sets have no file and are left out.

    Raises:
        UserError: ``dataset_info.json`` does not know the name, or the file is missing (with the command that makes it).
    """
    folder = Path(str(recipe.get("dataset_dir", "data")))
    known = _read_info(folder / "dataset_info.json", where)
    for key in ("dataset", "eval_dataset"):
        for name in names(recipe.get(key)):
            if name not in known:
                listed = ", ".join(sorted(known))
                raise UserError(
                    f"{where}: {key} {name!r} is not in {folder / 'dataset_info.json'}, which knows {listed}"
                )
            if "file_name" in known[name]:
                yield name, _check_file(folder / known[name]["file_name"], name)


def _read_info(path: Path, where: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{where}: {path} is missing; dataset_dir names the folder that holds it")
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    return known


def _check_file(path: Path, name: str) -> Path:
    if not path.exists():
        makers = [path for path in Path("recipes/data").glob("*.yaml") if name.startswith(f"{path.stem}_")]
        maker = max(makers, key=lambda path: len(path.stem), default="--help")
        command = f"bash scripts/prepare_data.sh {maker}"
        raise UserError(f"{path}: data set {name!r} is not prepared; make it with `{command}`")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path}: data set {name!r} is empty; prepare it again")
    return path
