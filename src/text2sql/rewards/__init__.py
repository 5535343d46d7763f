"""Rewards for reinforcement learning on text-to-SQL, as plugins that know nothing of trainers.

A reward turns completions into scores. A training stage builds one :class:`RewardSuite` from names, weights and
parameters, and calls it with batches of :class:`text2sql.records.RewardSample`.
"""

from text2sql.rewards.context import RewardContext
from text2sql.rewards.registry import REWARDS, RewardResult, reward
from text2sql.rewards.suite import REWARD_SETS, RewardSuite

__all__ = ["REWARDS", "REWARD_SETS", "RewardContext", "RewardResult", "RewardSuite", "reward"]
