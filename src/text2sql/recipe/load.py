"""Reads a recipe with its overrides; every command starts here."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from text2sql.errors import UserError
from text2sql.recipe.paths import from_caller, overrides_from_caller

Recipe = dict[str, Any]


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
