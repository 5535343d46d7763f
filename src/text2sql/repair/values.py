"""The text values that a column stores, and how each of them is spelled."""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from sqleval import Limits, Rows, execute
from text2sql.repair.literals import Literal
from text2sql.schema.model import quote

_MOST_VALUES = 200_000
_COLUMNS_KEPT = 512


def folded(text: str) -> str:
    """The text without case and accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def spellings(database: Path, table: str, column: str, timeout: float) -> Mapping[str, tuple[str, ...]] | None:
    """The stored texts of a column by their folded form.

    None where reading them takes more than ``timeout`` seconds, or they are more than 200,000 or 16 MB. A column is
    read once and kept until the file changes.
    """
    stat = database.stat()
    return _spellings(database, (stat.st_mtime_ns, stat.st_size), table, column, timeout)


@lru_cache(maxsize=_COLUMNS_KEPT)
def _spellings(
    database: Path, changed: tuple[int, int], table: str, column: str, timeout: float
) -> Mapping[str, tuple[str, ...]] | None:
    limits = Limits(timeout=timeout, rows=_MOST_VALUES, result_bytes=16 << 20)
    name = quote(column)
    outcome = execute(database, f"SELECT DISTINCT {name} FROM {quote(table)} WHERE typeof({name}) = 'text'", limits)
    if not isinstance(outcome, Rows):
        return None
    found: dict[str, tuple[str, ...]] = {}
    for (value,) in outcome.rows:
        found[folded(str(value))] = (*found.get(folded(str(value)), ()), str(value))
    return found


def is_stored(database: Path, literal: Literal, timeout: float) -> bool | None:
    """Whether the column stores the literal as it is spelled; None where that is not known.

    A literal that reads as a number is not looked for: the column may store the number.
    """
    known = spellings(database, literal.table, literal.column, timeout)
    if known is None or _is_number(literal.text):
        return None
    return literal.text in known.get(folded(literal.text), ())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
