"""Descriptions of columns as BIRD ships them: a CSV file for each table, in whatever encoding its author had."""

import csv
import io
import re
from pathlib import Path

_LONGEST = 160
_HEADING = re.compile(r"\A\W*commonsense \w+\W*", re.IGNORECASE)
_COLUMN, _NAME, _TEXT, _VALUES = "original_column_name", "column_name", "column_description", "value_description"


def read_descriptions(folder: Path) -> dict[tuple[str, str], str]:
    """What is told of each column, on one line of up to 160 characters, by (table, column) in lower case.

    That is the column's name in words, where it says more than the name itself, its description, and that of its values.
    A missing folder, and rows without a column, give nothing.
    """
    return {
        (path.stem.strip().lower(), name.lower()): told
        for path in sorted(folder.glob("*.csv"))
        for row in csv.DictReader(io.StringIO(_decode(path.read_bytes())))
        if (name := _cell(row, _COLUMN)) and (told := _tell(name, row))
    }


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _cell(row: dict[str, str | None], name: str) -> str:
    found = row.get(name)
    return " ".join(found.split()) if isinstance(found, str) else ""


def _tell(column: str, row: dict[str, str | None]) -> str:
    parts: list[str] = []
    for text in (_cell(row, _NAME), _cell(row, _TEXT), _HEADING.sub("", _cell(row, _VALUES))):
        new = text.lower() not in (column.lower(), column.lower().replace("_", " "), *map(str.lower, parts))
        if text and new:
            parts.append(text)
    told = ", ".join(parts)
    return told if len(told) <= _LONGEST else told[:_LONGEST].rstrip() + "..."
