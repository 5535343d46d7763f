"""Counting votes: pure, so that other weights or fewer samples need no second execution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from text2sql.records import Alternative, Candidate, Choice, Standing

Way = Literal["vote", "reward_model", "weighted"]
"""One vote each; the candidate that the reward model scores highest; votes that count as the model's scores say."""

_ORDER: tuple[str, ...] = get_args(Standing)


@dataclass(frozen=True)
class Group:
    """Candidates of one result, the one to show first, and the share of all votes that they have."""

    members: tuple[Candidate, ...]
    share: float


def ranked(candidates: Sequence[Candidate], weights: Sequence[float] | None = None) -> list[Group]:
    """The candidates' groups, the chosen one first (see :mod:`text2sql.select`).

    ``weights`` say what each candidate's vote counts (default: 1 each); a reward model's scores go here.
    """
    votes = weights or [1.0] * len(candidates)
    total = sum(votes) or 1.0
    by_group: dict[int, list[int]] = {}
    for number, candidate in enumerate(candidates):
        by_group.setdefault(candidate.group, []).append(number)
    groups = []
    for numbers in by_group.values():
        numbers.sort(key=lambda number: (_merit(candidates[number]), number))
        share = sum(votes[number] for number in numbers) / total
        groups.append((_merit(candidates[numbers[0]]), share, numbers))
    groups.sort(key=lambda group: (group[0][0], -group[1], group[0][1], min(group[2])))
    return [Group(tuple(candidates[number] for number in numbers), share) for _, share, numbers in groups]


def weights(candidates: Sequence[Candidate], way: Way) -> list[float] | None:
    """What each candidate's vote counts; the best standing wins before any vote does.

    ``weighted``: the probability that the candidate is the best one, by the model (Bradley and Terry, 1952).
    """
    if way == "vote":
        return None
    scores = [-math.inf if candidate.score is None else candidate.score for candidate in candidates]
    best = max(scores)
    if way == "weighted":
        return [math.exp(score - best) if math.isfinite(score) else 0.0 for score in scores]
    order = [(_ORDER.index(row.standing), -score) for row, score in zip(candidates, scores, strict=True)]
    first = order.index(min(order))
    return [float(number == first) for number in range(len(order))]


def choose(candidates: Sequence[Candidate], way: Way = "vote") -> Choice:
    """The chosen answer of a question."""
    return chosen(ranked(candidates, weights(candidates, way)))


def better(candidate: Candidate, than: Candidate) -> bool:
    """Whether a revision takes the place of what it revised: by standing, then by the reward model where there is one."""
    places = [_ORDER.index(row.standing) for row in (candidate, than)]
    if places[0] != places[1] or candidate.score is None or than.score is None:
        return places[0] < places[1]
    return candidate.score > than.score


def _merit(candidate: Candidate) -> tuple[int, float]:
    """Smaller is better: standing, then log-probability (an unknown one is the worst)."""
    return _ORDER.index(candidate.standing), -candidate.logprob if candidate.logprob is not None else float("inf")


def chosen(groups: Sequence[Group]) -> Choice:
    """The first group's answer, with an answer of each other group as alternatives."""
    first = groups[0].members[0]
    others = tuple(Alternative(group.members[0].pred, round(group.share, 6)) for group in groups[1:])
    kept = (first.logprob, first.raw, first.repairs, round(groups[0].share, 6), others)
    return Choice(first.question_id, first.db_id, first.pred, first.text, 0, *kept)
