"""The official evaluator's printed table, column for column, so that scripts that read it go on working."""

from collections.abc import Mapping, Sequence

from sqleval.exact import COMPONENTS
from sqleval.tally import Group

_WIDTH = 20


def official_table(levels: Mapping[str, Group], turns: Mapping[str, Group] | None, etype: str) -> str:
    """The whole table. ``turns`` is None for single-turn data, which has no joint column either."""
    shown = {name: group for name, group in levels.items() if turns is not None or name != "joint_all"}
    lines = [_row("", list(shown)), _row("count", [group.count for group in shown.values()])]
    if etype in ("all", "exec"):
        lines.append("=====================   EXECUTION ACCURACY     =====================")
        lines.append(_row("execution", [group.execution for group in shown.values()]))
    if etype in ("all", "match"):
        lines += ["", "====================== EXACT MATCHING ACCURACY ====================="]
        lines.append(_row("exact match", [group.exact for group in shown.values()]))
        titles = (
            "\n---------------------PARTIAL MATCHING ACCURACY----------------------",
            "---------------------- PARTIAL MATCHING RECALL ----------------------",
            "---------------------- PARTIAL MATCHING F1 --------------------------",
        )
        for which, title in enumerate(titles):
            lines.append(title)
            lines += [_row(part, [group.parts[part][which] for group in shown.values()]) for part in COMPONENTS]
    if turns is not None:
        lines += ["", "", _row("", list(turns)), _row("count", [group.count for group in turns.values()])]
        if etype in ("all", "exec"):
            lines.append("=====================   TURN EXECUTION ACCURACY     =====================")
            lines.append(_row("execution", [group.execution for group in turns.values()]))
        if etype in ("all", "match"):
            lines += ["", "====================== TURN EXACT MATCHING ACCURACY ====================="]
            lines.append(_row("exact match", [group.exact for group in turns.values()]))
    return "\n".join(lines)


def _row(name: str, cells: Sequence[str | int | float]) -> str:
    shown = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
    return " ".join(text.ljust(_WIDTH) for text in (name, *shown))
