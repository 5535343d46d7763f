"""Recipes: one YAML file and ``key=value`` overrides, read the way llamafactory-cli reads them.

Stages that are ours turn the result into a dataclass; a key that the stage does not know is refused by name.
"""

import difflib
import types
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from text2sql.errors import UserError

Options = TypeVar("Options")


def load_recipe(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Read a YAML recipe and apply ``key=value`` overrides (flat keys, or dotted for nested ones).

    Raises:
        UserError: no such file, not YAML, not a mapping, or an override that is not ``key=value``.
    """
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


def options_from(kind: type[Options], values: dict[str, Any], where: str) -> Options:
    """Build the dataclass ``kind`` from a recipe's keys.

    Raises:
        UserError: an unknown key (with the nearest known one), a missing key, or a value of the wrong type.
    """
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise UserError(f"{where}: unknown key {key!r}; {hint}")
    required = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise UserError(f"{where}: missing {', '.join(missing)}")
    return kind(**{key: _coerce(key, value, hints[key], where) for key, value in values.items()})


def _coerce(key: str, value: Any, hint: Any, where: str) -> Any:
    """``value`` as ``hint``: str, int, float, bool, Path, list[...], dict, Literal[...] or a union of these."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _coerce(key, value, next(a for a in arguments if a is not type(None)), where)
    if origin is list and isinstance(value, list):
        return [_coerce(key, item, arguments[0], where) for item in value]
    if arguments and origin not in (list, dict):  # Literal
        if value in arguments:
            return value
        raise UserError(f"{where}: {key} is one of {', '.join(map(str, arguments))}, not {value!r}")
    plain = origin or hint
    if plain is Path and isinstance(value, str):
        return Path(value)
    if plain is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if plain is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, plain) or (plain is int and isinstance(value, bool)):
        raise UserError(f"{where}: {key} should be {getattr(plain, '__name__', plain)}, not {value!r}")
    return value
