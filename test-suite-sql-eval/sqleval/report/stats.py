"""Is one model's score really higher than another's? Paired tests on per-question results."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

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
