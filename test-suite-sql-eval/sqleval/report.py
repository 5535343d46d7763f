"""The run's results as JSON: a summary that names its protocol, and one line for each example."""

import hashlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqleval.errors import InputError
from sqleval.run import Settings, value_of
from sqleval.stats import Comparison
from sqleval.tally import Group, Scored, groups, turns, wilson

GRADED = ("bird-soft-f1", "bird-ves")


def summary(
    scored: Sequence[Scored], settings: Settings, files: dict[str, Path], comparison: Comparison | None, seconds: float
) -> dict[str, Any]:
    """Everything a figure needs to be trusted: protocol, counts, scores with intervals, errors, hashes."""
    value = value_of(settings.protocol)
    levels = groups(scored, value)
    several = levels["joint_all"].count > 1
    shown = {name: group for name, group in levels.items() if several or name != "joint_all"}
    return {
        "protocol": settings.protocol.label,
        "flags": {k: v for k, v in asdict(settings.protocol).items() if k != "name"},
        "etype": settings.etype,
        "n": len(scored),
        "scores": {name: _figures(group, settings) for name, group in shown.items()},
        "turns": {name: _figures(g, settings) for name, g in turns(scored, value).items()} if several else None,
        "errors": dict(error_counts(scored)),
        "gold_errors": sum(item.verdict is not None and item.verdict.outcome == "gold_error" for item in scored),
        "comparison": asdict(comparison) if comparison else None,
        "files": {name: {"name": path.name, "sha256": _sha256(path)} for name, path in files.items()},
        "timeout": settings.timeout,
        "sqlite": sqlite3.sqlite_version,
        "seconds": round(seconds, 3),
    }


def _figures(group: Group, settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {"count": group.count}
    if settings.etype in ("all", "exec"):
        found["exec"] = group.execution
        if settings.protocol.name not in GRADED:
            found["exec_interval"] = wilson(group.execution * group.count, group.count)
    if settings.etype in ("all", "match"):
        found["exact"] = group.exact
        found["exact_interval"] = wilson(group.exact * group.count, group.count)
        found["partial"] = {
            name: dict(zip(("acc", "rec", "f1"), part, strict=True)) for name, part in group.parts.items()
        }
    return found


def error_counts(scored: Iterable[Scored]) -> Counter[str]:
    """How many predictions failed, by error class."""
    return Counter(i.verdict.error_class for i in scored if i.verdict and i.verdict.error_class)


def example_lines(scored: Iterable[Scored], graded: bool) -> Iterable[str]:
    """One JSON object for each task; ``score`` is there for graded protocols only."""
    for item in scored:
        row: dict[str, Any] = {
            "index": item.task.index,
            "db_id": item.task.db_id,
            "hardness": item.level,
            "exec": None if item.verdict is None else int(item.verdict.correct),
            "exact": None if item.exact is None else int(item.exact),
            "error": item.verdict.error_class if item.verdict else None,
        }
        if graded and item.verdict:
            row["score"] = item.verdict.score
        yield json.dumps(row, ensure_ascii=False)


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it, so that no half of it is ever seen.

    Raises:
        InputError: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
