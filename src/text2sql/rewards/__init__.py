"""Rewards for reinforcement learning on text-to-SQL, as plugins that know nothing of trainers.

A reward turns completions into scores. Whoever trains builds one :class:`RewardSuite` from names, weights and
parameters, and calls it with batches of :class:`text2sql.records.RewardSample`.
"""

from text2sql.rewards.context import Judged, RewardContext
from text2sql.rewards.registry import REWARDS, Reward, RewardResult, RewardSpec, reward
from text2sql.rewards.suite import REWARD_SETS, RewardSuite, Scores

__all__ = [
    "REWARDS",
    "REWARD_SETS",
    "Judged",
    "Reward",
    "RewardContext",
    "RewardResult",
    "RewardSpec",
    "RewardSuite",
    "Scores",
    "reward",
]
