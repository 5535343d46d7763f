"""Is one model's score really higher than another's? Paired tests on per-question results."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

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
    only_first = sum(one > two for one, two in zip(first, second, strict=True))
    only_second = sum(two > one for one, two in zip(first, second, strict=True))
    mean_first, mean_second = sum(first) / count, sum(second) / count
    return Comparison(
        mean_first, mean_second, mean_second - mean_first, low, high, only_first, only_second, mcnemar(only_first, only_second)
    )  # fmt: skip


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value: the binomial probability of a split at least as uneven under equal chances."""
    total, least = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(comb(total, k) for k in range(least + 1)) / 2**total) if total else 1.0
