"""Reads JSON arrays as a stream, so that memory does not grow with the file, and names a row at fault."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ijson

from text2sql.errors import UserError


def json_rows(path: Path, required: Mapping[str, type]) -> Iterator[tuple[int, dict[str, Any], float]]:
    """Yield ``(row number from 1, row, share of the file read)`` of a file with a JSON array of objects.

    Raises:
        UserError: the file is missing, is cut off or is not such an array, or a row lacks a required key.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    size = max(1, path.stat().st_size)
    number = 0
    with path.open("rb") as stream:
        try:
            for number, row in enumerate(ijson.items(stream, "item", use_float=True), 1):
                _check(row, required, f"{path}: row {number}")
                yield number, row, min(1.0, stream.tell() / size)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{path}: row {number + 1}: not valid JSON ({reason}); is it cut off?") from error
    if not number:
        raise UserError(f"{path}: expected a JSON array of objects, found none")


def _check(row: object, required: Mapping[str, type], where: str) -> None:
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected an object, found {type(row).__name__}")
    for key, kind in required.items():
        if key not in row:
            raise UserError(f"{where}: no key {key!r}; found {', '.join(map(repr, row)) or 'none'}")
        if not isinstance(row[key], kind):
            raise UserError(f"{where}: {key!r} should be {kind.__name__}, found {type(row[key]).__name__}")
