"""Typed options of our own commands, checked by pydantic; LLaMA-Factory's keys are checked against its own classes."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_args

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
            raise UserError(f"{where}: {_unknown([str(part) for part in found['loc']], list(known))}") from None
        raise UserError(f"{where}: {first_complaint(error)}") from None


def _as_text(value: Any) -> Any:
    """YAML reads ``name: 2017`` as a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _unknown(place: list[str], known: list[str]) -> str:
    key = place[-1]
    if key in RENAMED:
        return f"unknown key {key!r}; it is called {RENAMED[key]!r} now"
    if len(place) > 1:
        return f"unknown key {'.'.join(place)!r}"
    near = difflib.get_close_matches(key, known, n=1)
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}")
