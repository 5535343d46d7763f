"""Rewards as TRL calls them, one function each, and what is counted while they score.

TRL averages each metric over the batches of a logging interval; what only some batches have (error classes) would come
out too high that way. Here sums and counts are kept, and divided when they are logged.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from text2sql.grpo.hparams import GRPOArguments
from text2sql.records import Example, RewardSample, example_of
from text2sql.rewards import RewardContext, RewardSuite
from text2sql.sql import load_issues

Sums = dict[str, tuple[float, int]]


@contextmanager
def open_rewards(ours: GRPOArguments) -> Iterator[RewardSuite]:
    """The recipe's rewards, with the one evaluator of the run, whose worker processes end with the block.

    Raises:
        UserError: no such reward, weight, parameter, protocol or folder of databases.
    """
    assert not isinstance(ours.reward_weights, str)  # refused when it was read
    load_issues(ours.issues)
    with RewardContext(
        ours.database_root, protocol=ours.reward_protocol, timeout=ours.timeout, jobs=ours.reward_jobs
    ) as context:
        yield RewardSuite(ours.reward_funcs, context, ours.reward_weights, ours.reward_params)


@lru_cache(maxsize=65_536)
def _example(text: str) -> Example:
    return example_of(json.loads(text))


def samples_of(
    prompts: Sequence[str], completions: Sequence[str], completion_ids: Sequence[Sequence[int]], example: Sequence[str]
) -> list[RewardSample]:
    """Typed samples from TRL's columns; ``example`` holds JSON."""
    return [
        RewardSample(prompt, completion, _example(text), len(ids))
        for prompt, completion, ids, text in zip(prompts, completions, completion_ids, example, strict=True)
    ]


class Scoring:
    """The functions to hand to TRL, in the order of ``suite.specs``, and the sums of what they counted."""

    def __init__(self, suite: RewardSuite) -> None:
        self.suite = suite
        self.weights = [suite.weights[name] for name in suite.specs]
        self.functions = [self._function(name) for name in suite.specs]
        self._sums: Sums = {}

    def _function(self, name: str) -> Callable[..., list[float]]:
        def score(
            prompts: list[str], completions: list[str], completion_ids: list[list[int]], example: list[str], **_: Any
        ) -> list[float]:
            samples = samples_of(prompts, completions, completion_ids, example)
            failed = self.suite.failures.get(name, 0)
            result = self.suite.score(name, samples)
            self._add(f"rewards/{name}/failed", self.suite.failures.get(name, 0) - failed, len(samples))
            for part, values in result.components.items():
                if not part.startswith("error/"):  # counted for all rewards together by count_errors
                    self._add(f"rewards/{name}/{part}", sum(values), len(samples))
            return list(result.scores)

        score.__name__ = name
        return score

    def count_errors(self, samples: Sequence[RewardSample]) -> None:
        """Count why queries gave no result; the verdicts are those that the rewards have asked for."""
        if self.suite.context.database_root is None:
            return
        judged = self.suite.context.judge(samples)
        self._add("sql/matched", sum(j.matched for j in judged), len(judged))
        self._add("sql/ran", sum(j.ran for j in judged), len(judged))
        for name, count in Counter(j.verdict.error_class for j in judged if j.verdict.error_class).items():
            self._add(f"sql/error/{name}", count, 0)

    def _add(self, key: str, value: float, n: int) -> None:
        total, count = self._sums.get(key, (0.0, 0))
        self._sums[key] = (total + value, count + n)

    def take(self) -> Sums:
        """The sums since the last call."""
        taken, self._sums = self._sums, {}
        return taken


def means(parts: Iterable[Sums]) -> dict[str, float]:
    """Means over all processes' and batches' sums; ``sql/error/*`` are shares of all judged completions."""
    values: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for part in parts:
        values.update({key: value for key, (value, _) in part.items()})
        counts.update({key: n for key, (_, n) in part.items()})
    return {k: v / ((counts["sql/ran"] if k.startswith("sql/error/") else counts[k]) or 1) for k, v in values.items()}
