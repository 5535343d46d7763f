"""Scores of single tasks added up by hardness level and by turn, as the official table wants them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqleval.exact.match import COMPONENTS, Component
from sqleval.inputs import Task
from sqleval.outcome import Verdict
from sqleval.protocol import Protocol

SPIDER_LEVELS = ("easy", "medium", "hard", "extra")
BIRD_LEVELS = ("simple", "moderate", "challenging")
TURNS = ("turn 1", "turn 2", "turn 3", "turn 4", "turn > 4")


@dataclass(frozen=True)
class Scored:
    """A task with its level and what was asked for: execution verdict, exact match with component scores."""

    task: Task
    level: str
    verdict: Verdict | None
    exact: bool | None
    parts: dict[str, Component] | None

    @property
    def turn(self) -> str:
        """Name of the turn in the official table."""
        return TURNS[min(self.task.turn, len(TURNS) - 1)]

    @property
    def right(self) -> bool:
        """Whether the prediction is right: by execution where that was asked for, else by exact match."""
        return self.verdict.correct if self.verdict else bool(self.exact)

    def value(self, protocol: Protocol) -> float:
        """What the task adds to the total."""
        return protocol.value(self.verdict) if self.verdict else float(self.right)


@dataclass(frozen=True)
class Group:
    """Figures of one column of the table: fractions, and component scores as (accuracy, recall, F1)."""

    count: int
    execution: float
    exact: float
    parts: dict[str, tuple[float, float, float]]


def groups(scored: Sequence[Scored], value: Callable[[Verdict], float]) -> dict[str, Group]:
    """Figures by level, then ``all``, then ``joint_all`` (an interaction counts when all its turns are right)."""
    levels = BIRD_LEVELS if any(item.level in BIRD_LEVELS for item in scored) else SPIDER_LEVELS
    found = {level: _group([item for item in scored if item.level == level], value) for level in levels}
    found["all"] = _group(scored, value)
    interactions: dict[int, list[Scored]] = {}
    for item in scored:
        interactions.setdefault(item.task.interaction, []).append(item)
    together = interactions.values()
    execution = _mean(all(i.verdict is None or i.verdict.correct for i in turns) for turns in together)
    exact = _mean(all(i.exact is not False for i in turns) for turns in together)
    # Officially the component scores of this column are never filled in.
    found["joint_all"] = Group(len(together), execution, exact, dict.fromkeys(COMPONENTS, (0.0, 0.0, 1.0)))
    return found


def turns(scored: Sequence[Scored], value: Callable[[Verdict], float]) -> dict[str, Group]:
    """Figures by turn of the interaction."""
    return {turn: _group([item for item in scored if item.turn == turn], value) for turn in TURNS}


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def _group(scored: Sequence[Scored], value: Callable[[Verdict], float]) -> Group:
    execution = _mean(value(item.verdict) for item in scored if item.verdict is not None)
    exact = _mean(float(item.exact) for item in scored if item.exact is not None)
    return Group(len(scored), execution, exact, {name: _part(scored, name) for name in COMPONENTS})


def _part(scored: Sequence[Scored], name: str) -> tuple[float, float, float]:
    """Accuracy over tasks whose prediction has the component, recall over those whose gold has it, and their F1."""
    if not scored:
        return 0.0, 0.0, 0.0
    found = [item.parts[name] for item in scored if item.parts is not None]
    accuracy = _mean(part.score for part in found if part.pred_total > 0)
    recall = _mean(part.score for part in found if part.gold_total > 0)
    if accuracy == 0 and recall == 0:
        return accuracy, recall, 1.0
    return accuracy, recall, 2 * accuracy * recall / (accuracy + recall)
