"""Several rewards as one: their weights, their parameters, and what happens when one of them fails.

A training run is long, and a plugin's exception on one completion must not end it: that completion scores 0 and is
counted. A reward that fails on every completion ends it at once, by name.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from text2sql.errors import UserError
from text2sql.records import RewardSample
from text2sql.rewards.context import RewardContext
from text2sql.rewards.registry import Reward, RewardResult, RewardSpec, build_reward, find_reward

logger = logging.getLogger(__name__)

# In all but those named published and cells, a wrong result earns at most half of what the plainest right one does: what
# can be earned beside the result, plus the most that a wrong one is paid, is no more than half of what being right is paid.
REWARD_SETS: dict[str, dict[str, float]] = {
    "execution": {"execution": 1.0},
    "reasoning": {
        "soft_format": 0.15,
        "sql_complexity": 0.05,
        "reasoning_quality": 0.15,
        "execution_partial": 0.2,
        "execution": 1.0,
    },
    "process": {
        "complexity_type": 0.10,
        "thinking_quality": 0.125,
        "self_assessment": 0.125,
        "sql_structure": 0.15,
        "execution": 1.0,
    },
    "dense": {"execution": 1.0, "execution_cells": 0.25, "schema_linking": 0.1, "length": 0.1},
    "cells": {"execution_cells": 1.0},
    "reasoning_published": {
        "soft_format": 1.0,
        "sql_complexity": 0.6,
        "reasoning_quality": 0.7,
        "execution_partial": 1.2,
    },
    "process_published": {
        "complexity_type": 0.20,
        "thinking_quality": 0.25,
        "self_assessment": 0.25,
        "sql_structure": 0.30,
    },
}


@dataclass(frozen=True)
class Scores:
    """``total`` is the weighted sum for each sample; ``rewards`` the unweighted results by name."""

    total: list[float]
    rewards: dict[str, RewardResult]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One JSON object a sample: total, each reward, and their components."""
        for i, total in enumerate(self.total):
            parts = {n: {c: v[i] for c, v in r.components.items()} for n, r in self.rewards.items() if r.components}
            yield {"reward": total, "rewards": {n: r.scores[i] for n, r in self.rewards.items()}, "components": parts}


class RewardSuite:
    """The rewards of a run.

    ``names`` are short names, dotted paths, or names of :data:`REWARD_SETS`; ``weights`` are by name, or a list in the
    order of the names (None: each reward's own, or the set's); ``params`` are by name, then by parameter. ``failures``
    counts by name the samples that a reward has failed on, which score 0.

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
        self._databases: set[str] = set()
        specs, own_weights = _expand(names)
        self.specs: dict[str, RewardSpec] = {spec.name: spec for spec in specs}
        if len(self.specs) < len(specs):
            raise UserError(f"reward_funcs: a reward is named twice in {', '.join(spec.name for spec in specs)}")
        self.weights = {**own_weights, **_named(weights, list(own_weights))}
        params = params or {}
        for name in params:
            if name not in self.specs:
                raise UserError(f"reward_params: {name!r} is not among the rewards {', '.join(self.specs)}")
        for spec in specs:
            if "database" in spec.needs and context.database_root is None:
                raise UserError(f"reward {spec.name!r} executes SQL: set database_root to the folder of databases")
        self._rewards = {n: build_reward(s, context, params.get(n, {})) for n, s in self.specs.items()}

    def score_batch(self, samples: Sequence[RewardSample]) -> Scores:
        """Score completions with all rewards.

        Raises:
            UserError: a sample lacks what a reward needs, or a reward fails on all samples or returns a wrong count.
        """
        rewards = {name: self.score(name, samples) for name in self.specs}
        total = [sum(self.weights[n] * r.scores[i] for n, r in rewards.items()) for i in range(len(samples))]
        return Scores(total, rewards)

    def score(self, name: str, samples: Sequence[RewardSample]) -> RewardResult:
        """Score completions with one reward of the suite, unweighted."""
        if not samples:
            return RewardResult([])
        for sample in samples:
            self._check(self.specs[name], sample)
        result, errors = _attempt(name, self._rewards[name], samples)
        self._account(name, samples, errors)
        return RewardResult([0.0 if i in errors else float(s) for i, s in enumerate(result.scores)], result.components)

    def _check(self, spec: RewardSpec, sample: RewardSample) -> None:
        row = f"row {sample.example.question_id or '(without question_id)'}"
        if "gold" in spec.needs and not sample.example.sql.strip():
            raise UserError(f"{row}: no gold SQL, which the reward {spec.name!r} needs")
        if "database" in spec.needs and sample.example.db_id not in self._databases:
            if not sample.example.db_id:
                raise UserError(f"{row}: no db_id, which the reward {spec.name!r} needs")
            try:
                self.context.database(sample.example.db_id)
            except UserError as error:
                raise UserError(f"{row}: {error}") from error
            self._databases.add(sample.example.db_id)

    def _account(self, name: str, samples: Sequence[RewardSample], errors: dict[int, str]) -> None:
        if len(errors) < len(samples):
            self._works.add(name)
        elif len(samples) > 1 or name not in self._works:
            first = samples[0].example.question_id
            raise UserError(f"reward {name!r} failed on all {len(samples)} completions; on row {first}: {errors[0]}")
        for i, error in errors.items():
            row = samples[i].example.question_id
            logger.warning("reward %s failed on row %s, which scores 0: %s", name, row, error)
        self.failures[name] = self.failures.get(name, 0) + len(errors)


def _attempt(name: str, reward: Reward, samples: Sequence[RewardSample]) -> tuple[RewardResult, dict[int, str]]:
    """Score samples; the errors say which scores are none, and why.

    After an exception they are scored one by one, without components, which the failed samples would not have.
    """
    try:
        result = _result(name, reward, samples)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 a plugin may raise anything
        if len(samples) == 1:
            return RewardResult([0.0]), {0: f"{type(error).__name__}: {error}"}
        logger.debug("reward %s failed on a batch (%s); trying its samples one by one", name, error)
        tried = [_attempt(name, reward, [sample]) for sample in samples]
        return RewardResult([r.scores[0] for r, _ in tried]), {i: e[0] for i, (_, e) in enumerate(tried) if e}
    return result, {i: f"it returned {score!r}" for i, score in enumerate(result.scores) if not _is_number(score)}


def _result(name: str, reward: Reward, samples: Sequence[RewardSample]) -> RewardResult:
    found = reward(samples)
    result = found if isinstance(found, RewardResult) else RewardResult(list(found))
    for what, values in {"scores": result.scores, **result.components}.items():
        if len(values) != len(samples):
            raise UserError(f"reward {name!r} returned {len(values)} {what} for {len(samples)} completions")
    return result


def _is_number(score: object) -> bool:
    try:
        return math.isfinite(score)  # type: ignore[arg-type]
    except TypeError:
        return False


def _expand(names: Sequence[str]) -> tuple[list[RewardSpec], dict[str, float]]:
    specs, weights = [], {}
    for name in names:
        members = REWARD_SETS.get(name, {})
        for member in members or [name]:
            spec = find_reward(member)
            specs.append(spec)
            weights[spec.name] = members.get(member, spec.weight)
    if not specs:
        raise UserError("reward_funcs: name at least one reward (text2sql rewards list)")
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
