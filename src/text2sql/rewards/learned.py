"""A trained reward model's score as one reward among others."""

from collections.abc import Sequence

from text2sql.records import RewardSample
from text2sql.rewards.registry import load_callable, reward


@reward("reward_model", weight=1.0, low=float("-inf"), high=float("inf"))
class RewardModel:
    """The score that a reward model gives to prompt and completion, unbounded, as it comes.

    Parameter ``scorer``: dotted path ``package.module:function`` of a callable that takes a list of (prompt, completion)
    and returns as many numbers. Loading the model is the scorer's business, so that no model format is built in.
    A learned score can be gamed where nothing was learned: use it beside an execution reward.
    """

    def __init__(self, scorer: str) -> None:
        self._scorer = load_callable(scorer, f"reward_model: scorer {scorer!r}")

    def score_batch(self, samples: Sequence[RewardSample]) -> Sequence[float]:
        """One score a sample."""
        scores: Sequence[float] = self._scorer([(sample.prompt, sample.completion) for sample in samples])
        return scores
