"""A trained reward model's score as one reward among others."""

import importlib
from collections.abc import Callable, Sequence

from text2sql.errors import UserError
from text2sql.records import RewardSample
from text2sql.rewards.registry import reward


@reward("reward_model", weight=1.0, low=float("-inf"), high=float("inf"))
class RewardModel:
    """The score that a reward model gives to prompt and completion, unbounded, as it comes.

    Parameter ``scorer``: dotted path ``package.module:function`` of a callable that takes a list of (prompt, completion)
    and returns as many numbers. Loading the model is the scorer's business, so that no model format is built in.
    A learned score can be gamed where nothing was learned: use it beside an execution reward.
    """

    def __init__(self, scorer: str) -> None:
        module, _, name = scorer.partition(":")
        try:
            found = getattr(importlib.import_module(module), name, None) if name else None
        except ImportError as error:
            raise UserError(f"reward_model: cannot import {module} ({error})") from error
        if not callable(found):
            raise UserError(f"reward_model: scorer is package.module:function, and {scorer!r} names none")
        self._scorer: Callable[[list[tuple[str, str]]], Sequence[float]] = found

    def score_batch(self, samples: Sequence[RewardSample]) -> Sequence[float]:
        """One score a sample."""
        return self._scorer([(sample.prompt, sample.completion) for sample in samples])
