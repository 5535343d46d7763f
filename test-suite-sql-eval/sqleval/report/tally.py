"""Scores added up by hardness level and by turn, and whether one run is really better than another: paired tests."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import comb, sqrt

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
    together = [list(turns) for _, turns in groupby(scored, key=lambda item: item.task.interaction)]
    execution = _mean(all(i.verdict is None or i.verdict.correct for i in turns) for turns in together)
    exact = _mean(all(i.exact is not False for i in turns) for turns in together)
    # Officially the component scores of this column are never filled in.
    found["joint_all"] = Group(len(together), execution, exact, dict.fromkeys(COMPONENTS, (0.0, 0.0, 1.0)))
    return found


def turns(scored: Sequence[Scored], value: Callable[[Verdict], float]) -> dict[str, Group]:
    """Figures by turn of the interaction."""
    last = len(TURNS) - 1
    by_turn = ([item for item in scored if min(item.task.turn, last) == place] for place in range(len(TURNS)))
    return {name: _group(items, value) for name, items in zip(TURNS, by_turn, strict=True)}


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


_RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same questions: ``difference`` is second minus first, with its 95 % bootstrap interval.

    ``only_first`` and ``only_second`` count questions that one system alone answers; ``p_value`` is McNemar's.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p_value: float

    def described(self, second: str, first: str) -> str:
        """The comparison in one line, with the names of the two systems."""
        return (
            f"{second} {self.second:.3f}, {first} {self.first:.3f}; "
            f"difference {self.difference:+.3f}, 95% interval [{self.low:+.3f}, {self.high:+.3f}] (paired bootstrap); "
            f"only {second} right: {self.only_second}, only {first} right: {self.only_first}, "
            f"McNemar p = {self.p_value:.4g}"
        )


def compare_paired(first: Sequence[float], second: Sequence[float], seed: int = 0) -> Comparison:
    """Paired bootstrap (2,000 resamples of questions, percentile interval) and McNemar's exact test.

    Raises:
        ValueError: the sequences differ in length or are empty.
    """
    if len(first) != len(second) or not first:
        raise ValueError("two non-empty sequences of equal length are needed")
    count = len(first)
    differences = [two - one for one, two in zip(first, second, strict=True)]
    # Resampling questions is resampling their differences, of which there are few distinct ones.
    values = Counter(differences)
    source = random.Random(seed)
    means = sorted(
        sum(source.choices(list(values), weights=list(values.values()), k=count)) / count for _ in range(_RESAMPLES)
    )
    low, high = means[int(0.025 * _RESAMPLES)], means[int(0.975 * _RESAMPLES) - 1]
    only_first, only_second = sum(d < 0 for d in differences), sum(d > 0 for d in differences)
    means_of_both = (sum(first) / count, sum(second) / count)
    p_value = mcnemar(only_first, only_second)
    difference = means_of_both[1] - means_of_both[0]
    return Comparison(*means_of_both, difference, low, high, only_first, only_second, p_value)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value: the binomial probability of a split at least as uneven under equal chances."""
    total, least = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(comb(total, k) for k in range(least + 1)) / 2**total) if total else 1.0


def wilson(right: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion ``right / count``; (0, 1) for no data."""
    if count == 0:
        return 0.0, 1.0
    share = right / count
    middle = share + z * z / (2 * count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
