"""Checks a recipe's keys and values against LLaMA-Factory's own argument classes, before it starts.

LLaMA-Factory reports an unknown key with a traceback and does not check the type of most values, so that a mistake shows
minutes later, inside training.
"""

import dataclasses
import difflib
import enum
import os
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from text2sql.errors import UserError
from text2sql.llamafactory.questions import HeldOutArguments
from text2sql.llamafactory.registry import argument_classes
from text2sql.recipe.load import RENAMED

Command = Literal["train", "export", "megatron"]


def known_arguments(command: Command, *, ours: bool = False) -> dict[str, Any]:
    """Type hints of every key that ``llamafactory-cli COMMAND`` reads, and with ``ours`` those of our stages; ``train`` knows
    those of held-out questions.

    ``megatron`` is training under ``USE_MCA=1``, which LLaMA-Factory reads when it is imported; that takes seconds.
    """
    if command == "megatron":
        os.environ["USE_MCA"] = "1"
    from llamafactory.hparams import parser

    kinds = {"train": parser._TRAIN_ARGS, "export": parser._INFER_ARGS, "megatron": parser._TRAIN_MCA_ARGS}[command]
    if ours:
        kinds = argument_classes(kinds)
    elif command == "train":
        kinds = [*kinds, HeldOutArguments]
    hints = ((kind, get_type_hints(kind)) for kind in kinds)
    return {field.name: found[field.name] for kind, found in hints for field in dataclasses.fields(kind) if field.init}


def check_arguments(recipe: dict[str, Any], known: dict[str, Any], where: Path) -> dict[str, Any]:
    """Refuse keys that are not ``known`` and values that cannot be what the key's type hint says.

    Returns the recipe, with ``no`` where YAML has read that word as false (``eval_strategy=no``).

    Raises:
        UserError: names the key, and the nearest known one or what the value should be.
    """
    checked = dict(recipe)
    for key, value in recipe.items():
        if key not in known:
            if RENAMED.get(key) in known:
                raise UserError(f"{where}: unknown key {key!r}; it is called {RENAMED[key]!r} now")
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "LLaMA-Factory has no such key"
            raise UserError(f"{where}: unknown key {key!r}; {hint}")
        if value is False and _fits("no", known[key]) and not _fits(False, known[key]):
            checked[key] = "no"
        elif not _fits(value, known[key]):
            raise UserError(f"{where}: {key} should be {_describe(known[key])}, not {value!r}")
    return checked


def check_template(recipe: dict[str, Any], where: Path) -> None:
    """Refuse a ``template`` that LLaMA-Factory does not have.

    Raises:
        UserError: names the nearest one that it has.
    """
    from llamafactory.data.template import TEMPLATES

    name = recipe.get("template")
    if name is not None and name not in TEMPLATES:
        near = difflib.get_close_matches(str(name), TEMPLATES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "LLaMA-Factory has no such template; Qwen3's is qwen3"
        raise UserError(f"{where}: template {name!r}; {hint}")


def _members(hint: Any) -> list[Any]:
    """A union's members, with an enumeration as the Literal of its values, which ``str`` beside it stands for too."""
    if isinstance(hint, enum.EnumType):
        options: list[enum.Enum] = list(hint)
        return [Literal[tuple(option.value for option in options)]]
    if get_origin(hint) not in (Union, types.UnionType):
        return [hint]
    members = [part for member in get_args(hint) for part in _members(member)]
    has_enum = any(isinstance(member, enum.EnumType) for member in get_args(hint))
    return [member for member in members if not (has_enum and member is str)]


def _fits(value: Any, hint: Any) -> bool:
    return any(_fits_one(value, member) for member in _members(hint))


def _fits_one(value: Any, hint: Any) -> bool:
    origin = get_origin(hint) or hint
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is type(None):
        return value is None
    if origin is Literal:
        return value in get_args(hint)
    if origin is bool:
        return isinstance(value, bool)
    if origin is int:
        return number and float(value).is_integer()
    if origin is float:
        return number
    if origin is str:
        return number or isinstance(value, str | list)  # "a,b" and [a, b] are both lists to LLaMA-Factory
    if origin in (dict, list):
        return isinstance(value, dict | list | str)
    return True


def _describe(hint: Any) -> str:
    names = []
    for member in _members(hint):
        if get_origin(member) is Literal:
            names += [str(argument) for argument in get_args(member)]
        elif member is not type(None):
            names.append({bool: "true or false", int: "a whole number", float: "a number"}.get(member, "text"))
    return " or ".join(dict.fromkeys(names)) if len(names) < 3 else f"one of {', '.join(dict.fromkeys(names))}"
