"""The run's results: the official evaluator's printed table, column for column, and JSON with one line for each example."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqleval.exact.match import COMPONENTS
from sqleval.protocol import Settings
from sqleval.report.tally import Comparison, Group, Scored, groups, turns, wilson

_WIDTH = 20
_PARTS = (
    "\n---------------------PARTIAL MATCHING ACCURACY----------------------",
    "---------------------- PARTIAL MATCHING RECALL ----------------------",
    "---------------------- PARTIAL MATCHING F1 --------------------------",
)


def official_table(levels: Mapping[str, Group], turns: Mapping[str, Group] | None, etype: str) -> str:
    """The whole table. ``turns`` is None for single-turn data, which has no joint column either."""
    shown = {name: group for name, group in levels.items() if turns is not None or name != "joint_all"}
    lines = list(_scores(shown, etype, ""))
    if etype in ("all", "match"):
        for which, title in enumerate(_PARTS):
            lines.append(title)
            lines += [_row(part, [group.parts[part][which] for group in shown.values()]) for part in COMPONENTS]
    if turns is not None:
        lines += ["", "", *_scores(turns, etype, "TURN ")]
    return "\n".join(lines)


def _scores(groups: Mapping[str, Group], etype: str, title: str) -> Iterator[str]:
    yield _row("", groups)
    yield _row("count", [group.count for group in groups.values()])
    if etype in ("all", "exec"):
        yield f"=====================   {title}EXECUTION ACCURACY     ====================="
        yield _row("execution", [group.execution for group in groups.values()])
    if etype in ("all", "match"):
        yield f"\n====================== {title}EXACT MATCHING ACCURACY ====================="
        yield _row("exact match", [group.exact for group in groups.values()])


def _row(name: str, cells: Iterable[str | int | float]) -> str:
    shown = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
    return " ".join(text.ljust(_WIDTH) for text in (name, *shown))


def summary(
    scored: Sequence[Scored], settings: Settings, files: dict[str, Path], comparison: Comparison | None, seconds: float
) -> dict[str, Any]:
    """Everything a figure needs to be trusted: protocol, counts, scores with intervals, errors, hashes."""
    levels = groups(scored, settings.protocol.value)
    several = levels["joint_all"].count > 1
    if not several:
        del levels["joint_all"]
    by_turn = turns(scored, settings.protocol.value)
    verdicts = [item.verdict for item in scored if item.verdict]
    return {
        "protocol": settings.protocol.label,
        "flags": {k: v for k, v in asdict(settings.protocol).items() if k != "name"},
        "etype": settings.etype,
        "n": len(scored),
        "scores": {name: _figures(group, settings) for name, group in levels.items()},
        "turns": {name: _figures(group, settings) for name, group in by_turn.items()} if several else None,
        "errors": dict(Counter(verdict.error_class for verdict in verdicts if verdict.error_class)),
        "gold_errors": sum(verdict.outcome == "gold_error" for verdict in verdicts),
        "comparison": asdict(comparison) if comparison else None,
        "files": {
            name: {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for name, path in files.items()
        },
        "timeout": settings.timeout,
        "sqlite": sqlite3.sqlite_version,
        "seconds": round(seconds, 3),
    }


def _figures(group: Group, settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {"count": group.count}
    if settings.etype in ("all", "exec"):
        found["exec"] = group.execution
        if not settings.protocol.graded:
            found["exec_interval"] = wilson(group.execution * group.count, group.count)
    if settings.etype in ("all", "match"):
        found["exact"] = group.exact
        found["exact_interval"] = wilson(group.exact * group.count, group.count)
        found["partial"] = {
            name: dict(zip(("acc", "rec", "f1"), part, strict=True)) for name, part in group.parts.items()
        }
    return found


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
        yield json.dumps(row, ensure_ascii=False) + "\n"
