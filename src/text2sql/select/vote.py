"""Counting votes: pure, so that other weights or fewer samples need no second execution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from text2sql.records import Alternative, Candidate, Choice, Standing

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


def _merit(candidate: Candidate) -> tuple[int, float]:
    """Smaller is better: standing, then log-probability (an unknown one is the worst)."""
    return _ORDER.index(candidate.standing), -candidate.logprob if candidate.logprob is not None else float("inf")


def chosen(groups: Sequence[Group]) -> Choice:
    """The first group's answer, with an answer of each other group as alternatives."""
    first = groups[0].members[0]
    others = tuple(Alternative(group.members[0].pred, round(group.share, 6)) for group in groups[1:])
    kept = (first.logprob, first.raw, first.repairs, round(groups[0].share, 6), others)
    return Choice(first.question_id, first.db_id, first.pred, first.text, 0, *kept)
