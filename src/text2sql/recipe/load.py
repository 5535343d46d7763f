"""Reads a recipe with its overrides; every command starts here.

Commands with a recipe run in the repository, where paths inside recipes start. Paths that a user types start where the user
is, which the environment variable TEXT2SQL_CALLER_DIR says.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from text2sql.errors import UserError

Recipe = dict[str, Any]

INPUT_KEYS = frozenset(
    "adapter_name_or_path checkpoint database_root dataset_dir decontaminate.against deepspeed described examples folder input "
    "model_name_or_path predictions ref_model reference resume_from_checkpoint schema tables tokenizer".split()
)
"""Keys whose value is a file or folder that a command reads; ``files.*`` are as well."""


def load_recipe(path: Path, overrides: list[str]) -> Recipe:
    """Read a YAML recipe and apply ``key=value`` overrides (flat keys, or dotted for nested ones).

    Raises:
        UserError: no such file, not YAML, not a mapping, or an override that is not ``key=value``.
    """
    path, overrides = Path(from_caller(str(path))), overrides_from_caller(overrides)
    if not path.is_file():
        raise UserError(f"{path}: no such recipe")
    for override in overrides:
        if "=" not in override.lstrip("=") or override.startswith("-"):
            raise UserError(f"{override!r}: an override is written key=value, for example seed=7")
    try:
        loaded = OmegaConf.load(path)
        if not OmegaConf.is_dict(loaded):
            raise UserError(f"{path}: a recipe is a mapping of keys to values")
        merged = OmegaConf.merge(loaded, OmegaConf.from_cli(overrides))
        container = OmegaConf.to_container(merged, resolve=True)
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    return {str(key): value for key, value in dict(container).items()}


def from_caller(text: str) -> str:
    """A path, or several in brackets, as the user meant it: where they are if it is there, else in the repository."""
    if text.startswith("[") and text.endswith("]"):
        return f"[{','.join(from_caller(part.strip()) for part in text[1:-1].split(',') if part.strip())}]"
    caller = os.environ.get("TEXT2SQL_CALLER_DIR")
    there = Path(caller or "", text)
    return str(there) if caller and text and there.exists() else text


def overrides_from_caller(overrides: Iterable[str]) -> list[str]:
    """``key=value`` overrides with the paths of :data:`INPUT_KEYS` as :func:`from_caller` gives them."""
    given = list(overrides)
    in_folder = any(override.startswith("folder=") for override in given)  # which paths of files start in, then
    found = []
    for override in given:
        key, equals, value = override.partition("=")
        is_path = key in INPUT_KEYS or (key.startswith("files.") and not in_folder)
        found.append(f"{key}={from_caller(value)}" if equals and is_path else override)
    return found
