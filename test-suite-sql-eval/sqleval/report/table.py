"""The official evaluator's printed table, column for column, so that scripts that read it go on working."""

from collections.abc import Iterable, Iterator, Mapping

from sqleval.exact.match import COMPONENTS
from sqleval.report.tally import Group

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
