"""What one evaluation found, on disk and in memory."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from text2sql.artifacts import write_json
from text2sql.errors import UserError, first_complaint

LEVELS = ("easy", "medium", "hard", "extra")


@dataclass(frozen=True)
class Score:
    """``correct`` of ``n`` questions (a mean over samples where there are several) with its 95 % interval."""

    n: int
    correct: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Report:
    """What one evaluation found. ``oracle`` is the share of questions that any sample answers rightly."""

    protocol: str
    split: str
    decoding: str
    samples: int
    overall: Score
    by_difficulty: dict[str, Score]
    outcomes: dict[str, int]
    error_classes: dict[str, int]
    oracle: float
    data_hash: str
    seconds: float
    experiment: str | None = None
    seed: int = 0


def wilson(correct: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson, 1927), as fractions.

    Unlike the normal approximation it stays within 0 and 1 and holds for small ``n``.
    """
    z = 1.959964
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding must not put a share of 0 or 1 outside its own interval.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def read_report(path: Path) -> Report:
    """A report that :func:`evaluate` wrote.

    Raises:
        UserError: no such file, or not a report.
    """
    try:
        return TypeAdapter(Report).validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such report; evaluate first (bash scripts/evaluate_sql.sh RECIPE)") from error
    except ValidationError as error:
        raise UserError(f"{path}: not a report of text2sql.evaluate ({first_complaint(error)})") from error


def write_sections(folder: Path, data_hash: str, sections: Mapping[str, Any]) -> Path:
    """Put sections into ``evaluation_report.json``; others stay if they are about the same data, else they go."""
    path = folder / "evaluation_report.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        kept = None
    same = isinstance(kept, dict) and kept.get("data_hash") == data_hash
    write_json(path, {"data_hash": data_hash, **(kept if same else {}), **sections})
    return path
