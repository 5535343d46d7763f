"""Several rewards as one: their weights, their parameters, and what happens when one of them fails.

A training run is long, and a plugin's mistake on one odd completion must not end it: that completion scores 0 and is
counted. A reward that never works must end it, at once and by name.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from text2sql.errors import UserError
from text2sql.records import RewardSample
from text2sql.rewards.context import RewardContext
from text2sql.rewards.registry import Reward, RewardResult, RewardSpec, build_reward, find_reward

logger = logging.getLogger(__name__)

REWARD_SETS: dict[str, dict[str, float]] = {
    "execution": {"execution": 1.0},
    "reasoning": {"soft_format": 1.0, "sql_complexity": 0.6, "reasoning_quality": 0.7, "execution_partial": 1.2},
    "process": {"complexity_type": 0.20, "thinking_quality": 0.25, "self_assessment": 0.25, "sql_structure": 0.30},
    "cells": {"execution_cells": 1.0},
    "dense": {"execution": 1.0, "execution_cells": 0.5, "schema_linking": 0.25, "length": 0.25},
}


@dataclass(frozen=True)
class Scores:
    """``total`` is the weighted sum for each sample; ``rewards`` the unweighted results by name; ``failures`` how many
    samples each reward failed on in this batch (they score 0)."""

    total: list[float]
    rewards: dict[str, RewardResult]
    failures: dict[str, int]


class RewardSuite:
    """The rewards of a run.

    ``names`` are short names, dotted paths, or names of :data:`REWARD_SETS`; ``weights`` are by name, or a list in the
    order of the names (None: each reward's own, or the set's); ``params`` are by name, then by parameter.

    Raises:
        UserError: an unknown name, weight or parameter, or a reward that executes SQL without ``database_root``.
    """

    def __init__(
        self,
        names: Sequence[str],
        context: RewardContext,
        weights: Mapping[str, float] | Sequence[float] | None = None,
        params: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.context = context
        self.failures: dict[str, int] = {}
        self._works: set[str] = set()
        specs, own_weights = _expand(names)
        self.specs: dict[str, RewardSpec] = {spec.name: spec for spec in specs}
        if len(self.specs) < len(specs):
            raise UserError(f"reward_funcs: a reward is named twice in {', '.join(spec.name for spec in specs)}")
        self.weights = {**own_weights, **_named(weights, list(own_weights))}
        params = params or {}
        unknown = [name for name in params if name not in self.specs]
        if unknown:
            raise UserError(f"reward_params: {unknown[0]!r} is not among the rewards {', '.join(self.specs)}")
        for spec in specs:
            if "database" in spec.needs and context.database_root is None:
                raise UserError(f"reward {spec.name!r} executes SQL: set database_root to the folder of databases")
        self._rewards = {n: build_reward(s, context, params.get(n, {})) for n, s in self.specs.items()}

    def score_batch(self, samples: Sequence[RewardSample]) -> Scores:
        """Score completions with all rewards.

        Raises:
            UserError: a sample lacks what a reward needs, or a reward fails on all samples or returns a wrong count.
        """
        before = dict(self.failures)
        rewards = {name: self.score(name, samples) for name in self.specs}
        total = [sum(self.weights[n] * r.scores[i] for n, r in rewards.items()) for i in range(len(samples))]
        return Scores(total, rewards, {n: self.failures.get(n, 0) - before.get(n, 0) for n in self.specs})

    def score(self, name: str, samples: Sequence[RewardSample]) -> RewardResult:
        """Score completions with one reward of the suite, unweighted."""
        if not samples:
            return RewardResult([])
        spec, reward = self.specs[name], self._rewards[name]
        for sample in samples:
            self._check(spec, sample)
        try:
            result = _result(spec, reward, samples)
            errors: dict[int, str] = {}
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 a plugin may raise anything
            logger.debug("reward %s failed on a batch (%s); trying its samples one by one", name, error)
            result, errors = _one_by_one(spec, reward, samples)
        for i, score in enumerate(result.scores):
            if i not in errors and not _is_number(score):
                errors[i] = f"it returned {score!r}"
        self._account(name, samples, errors)
        return RewardResult([0.0 if i in errors else float(s) for i, s in enumerate(result.scores)], result.components)

    def _check(self, spec: RewardSpec, sample: RewardSample) -> None:
        row = f"row {sample.example.question_id or '(without question_id)'}"
        if "gold" in spec.needs and not sample.example.sql.strip():
            raise UserError(f"{row}: no gold SQL, which the reward {spec.name!r} needs")
        if "database" in spec.needs:
            if not sample.example.db_id:
                raise UserError(f"{row}: no db_id, which the reward {spec.name!r} needs")
            try:
                self.context.database(sample.example.db_id)
            except UserError as error:
                raise UserError(f"{row}: {error}") from error

    def _account(self, name: str, samples: Sequence[RewardSample], errors: dict[int, str]) -> None:
        if len(errors) < len(samples):
            self._works.add(name)
        elif len(samples) > 1 or name not in self._works:
            first = samples[0].example.question_id
            raise UserError(f"reward {name!r} failed on all {len(samples)} completions; on row {first}: {errors[0]}")
        for i, error in errors.items():
            logger.warning(
                "reward %s failed on row %s, which scores 0: %s", name, samples[i].example.question_id, error
            )
        self.failures[name] = self.failures.get(name, 0) + len(errors)


def _result(spec: RewardSpec, reward: Reward, samples: Sequence[RewardSample]) -> RewardResult:
    found = reward.score_batch(samples)
    result = found if isinstance(found, RewardResult) else RewardResult(list(found))
    counts = {"scores": result.scores, **result.components}
    for what, values in counts.items():
        if len(values) != len(samples):
            raise UserError(f"reward {spec.name!r} returned {len(values)} {what} for {len(samples)} completions")
    return result


def _is_number(score: object) -> bool:
    try:
        return math.isfinite(score)  # type: ignore[arg-type]
    except TypeError:
        return False


def _one_by_one(
    spec: RewardSpec, reward: Reward, samples: Sequence[RewardSample]
) -> tuple[RewardResult, dict[int, str]]:
    """Score samples singly; those that fail score 0. Components are left out: some samples would have none."""
    scores, errors = [0.0] * len(samples), {}
    for i, sample in enumerate(samples):
        try:
            scores[i] = _result(spec, reward, [sample]).scores[0]
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 a plugin may raise anything
            errors[i] = f"{type(error).__name__}: {error}"
    return RewardResult(scores), errors


def _expand(names: Sequence[str]) -> tuple[list[RewardSpec], dict[str, float]]:
    specs, weights = [], {}
    for name in names:
        members = REWARD_SETS.get(name, {})
        for member in members or [name]:
            spec = find_reward(member)
            specs.append(spec)
            weights[spec.name] = members.get(member, spec.weight)
    if not specs:
        raise UserError("reward_funcs: name at least one reward (python -m text2sql.rewards list)")
    return specs, weights


def _named(weights: Mapping[str, float] | Sequence[float] | None, names: list[str]) -> dict[str, float]:
    if weights is None:
        return {}
    if not isinstance(weights, Mapping):
        if len(weights) != len(names):
            raise UserError(f"reward_weights: {len(weights)} weights for {len(names)} rewards ({', '.join(names)})")
        weights = dict(zip(names, weights, strict=True))
    for name, weight in weights.items():
        if name not in names:
            raise UserError(f"reward_weights: {name!r} is not among the rewards {', '.join(names)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise UserError(f"reward_weights: the weight of {name!r} is a number, not {weight!r}")
    return {name: float(weight) for name, weight in weights.items()}
