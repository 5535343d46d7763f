"""Typed options of our own commands, checked by pydantic; LLaMA-Factory's keys are checked against its own classes."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from text2sql.errors import UserError, first_complaint

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
