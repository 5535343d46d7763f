"""Reads a recipe with its overrides; every command starts here.

Commands with a recipe run in the repository, where paths inside recipes start. Paths that a user types start where the user
is, which the environment variable TEXT2SQL_CALLER_DIR says.
"""

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError
from yaml import YAMLError

from text2sql.errors import UserError, first_complaint

Recipe = dict[str, Any]

INPUT_KEYS = frozenset(
    "adapter_name_or_path api_keys checkpoint database_root dataset_dir decontaminate.against deepspeed described "
    "eval_examples examples folder greedy input model_name_or_path pairs predictions ref_model reference references "
    "resume_from_checkpoint revise.model_name_or_path reward_model schema tables tokenizer toy_databases".split()
)
"""Keys whose value is a file or folder that a command reads; ``files.*`` and ``databases.*`` are as well."""

OUTPUT_KEYS = frozenset("export_dir ledger lessons.output_dir output output_dir pairs.output_dir".split())
"""Keys whose value is a file or folder that a command writes."""


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
    """``key=value`` overrides whose paths start where the user is.

    Those of :data:`INPUT_KEYS` are as :func:`from_caller` gives them; those of :data:`OUTPUT_KEYS` need not exist yet.
    """
    given = list(overrides)
    in_folder = any(override.startswith("folder=") for override in given)  # which paths of files start in, then
    found = []
    for override in given:
        key, equals, value = override.partition("=")
        is_path = key in INPUT_KEYS or key.startswith("databases.") or (key.startswith("files.") and not in_folder)
        if is_path:
            value = from_caller(value)
        elif key in OUTPUT_KEYS:
            value = in_callers_folder(value)
        found.append(key + equals + value)
    return found


def in_callers_folder(path: str) -> str:
    """A path to be written, as the user meant it: where they are."""
    caller = os.environ.get("TEXT2SQL_CALLER_DIR")
    elsewhere = caller and path not in ("", "null") and Path(caller).resolve() != Path.cwd()
    return str(Path(caller or "", path)) if elsewhere else path


STRICT = ConfigDict(extra="forbid", strict=True)
"""For ``pydantic.dataclasses.dataclass(frozen=True, config=STRICT)``: no unknown keys, no silent conversion."""

RENAMED = {
    "answer": "answer_format",
    "databases": "database_root",
    "exclude_world": "toy_databases",
    "sql_timeout": "timeout",
    "world": "toy_databases",
}
"""Keys of our own recipes that had another name, and the name they have now."""

Options = TypeVar("Options")


def options_from(kind: type[Options], values: Mapping[str, Any], where: str) -> Options:
    """Check a recipe's keys and values against ``kind``; text becomes a path, and a number text, where that is wanted.

    Raises:
        UserError: an unknown key (with the nearest known one), a missing key, or a value of the wrong type.
    """
    known = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    texts = {name for name, hint in known.items() if str in (hint, *get_args(hint))}
    given = {key: _as_text(value) if key in texts else value for key, value in values.items()}
    try:
        return TypeAdapter(kind).validate_json(json.dumps(given, default=str))
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        if found["type"] == "unexpected_keyword_argument":
            raise UserError(f"{where}: {_unknown([str(part) for part in found['loc']], kind)}") from None
        raise UserError(f"{where}: {first_complaint(error)}") from None


def _as_text(value: Any) -> Any:
    """YAML reads ``name: 2017`` as a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _unknown(place: list[str], kind: Any) -> str:
    key, known = place[-1], _keys_at(kind, place[:-1])
    if key in RENAMED:
        return f"unknown key {key!r}; it is called {RENAMED[key]!r} now"
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key {'.'.join(place)!r}" + (f"; {hint}" if known else "")


def _keys_at(kind: Any, place: list[str]) -> list[str]:
    """The keys that options know at a place, such as those of ``linking`` in options that have it nested."""
    if not is_dataclass(kind):
        found = (_keys_at(part, place[get_origin(kind) is dict :]) for part in get_args(kind))
        return next((keys for keys in found if keys), [])
    known = {field.name: field.type for field in fields(kind)}
    return _keys_at(known.get(place[0]), place[1:]) if place else list(known)
