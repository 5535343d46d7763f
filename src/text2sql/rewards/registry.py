"""Find rewards by name: the shipped ones, those that a user's module registers, and those of a dotted path.

A reward is a function ``(samples) -> scores`` or a class with ``score_batch(samples)``; either may also take the
``context`` and parameters of its own, so a user's reward needs a function in a module and a name in YAML.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

from text2sql.errors import UserError
from text2sql.recipe.keys import import_module
from text2sql.records import RewardSample
from text2sql.rewards.context import RewardContext

Need = Literal["gold", "database"]
Made = TypeVar("Made", bound=Callable[..., Any])


@dataclass(frozen=True)
class RewardResult:
    """One score a sample, in their order, and optional components to be logged, each with one value a sample."""

    scores: Sequence[float]
    components: Mapping[str, Sequence[float]] = field(default_factory=dict)


Reward = Callable[[Sequence[RewardSample]], RewardResult | Sequence[float]]
"""A reward that is ready to score: it returns one score for each sample."""


def with_components(parts: Sequence[tuple[float, tuple[float, ...]]], *names: str) -> RewardResult:
    """A result from each sample's score and the components that it was made from, in the order of ``names``."""
    return RewardResult([score for score, _ in parts], {n: [c[i] for _, c in parts] for i, n in enumerate(names)})


@dataclass(frozen=True)
class RewardSpec:
    """A reward's registration. Scores lie in [low, high] before they are multiplied by the weight (``weight`` is its
    default); ``needs`` says what every sample must have: gold SQL, a database."""

    name: str
    make: Callable[..., Any]
    weight: float = 1.0
    low: float = 0.0
    high: float = 1.0
    needs: frozenset[Need] = frozenset()


REWARDS: dict[str, RewardSpec] = {}


def reward(
    name: str, *, weight: float = 1.0, low: float = 0.0, high: float = 1.0, needs: Sequence[Need] = ()
) -> Callable[[Made], Made]:
    """Register a function or class as a reward under ``name``.

    Raises:
        UserError: another reward has that name.
    """

    def register(make: Made) -> Made:
        taken = REWARDS.get(name)
        if taken is not None and _where(taken.make) != _where(make):
            raise UserError(f"reward {name!r} is registered already by {_where(taken.make)}; choose another name")
        REWARDS[name] = RewardSpec(name, make, weight, low, high, frozenset(needs))
        return make

    return register


def _where(make: Callable[..., Any]) -> str:
    return f"{make.__module__}:{make.__qualname__}"


def find_reward(name: str) -> RewardSpec:
    """The reward of a short name, or of a dotted path ``package.module:reward``.

    Raises:
        UserError: there is none; the message lists the known names.
    """
    load_shipped()
    if ":" in name:
        made = load_callable(name, f"reward {name!r}")
        registered = next((spec for spec in REWARDS.values() if spec.make is made), None)
        return registered or RewardSpec(name.rpartition(":")[2], made)
    if name in REWARDS:
        return REWARDS[name]
    near = difflib.get_close_matches(name, REWARDS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(
        f"unknown reward {name!r}; {hint}known: {', '.join(sorted(REWARDS))}; or package.module:reward for your own"
    )


def load_shipped() -> None:
    """Register the rewards that come with this package."""
    for module in ("execution", "process", "dense", "learned"):
        importlib.import_module(f"text2sql.rewards.{module}")


def load_callable(path: str, what: str) -> Callable[..., Any]:
    """The function or class of a dotted path ``package.module:name``; ``what`` says in an error whose path it is.

    Raises:
        UserError: the module cannot be imported, or has nothing callable of that name.
    """
    module_name, _, attribute = path.partition(":")
    module = import_module(module_name, what)
    found = getattr(module, attribute, None)
    if not callable(found):
        raise UserError(f"{what}: {module_name} has no function or class {attribute!r}; write package.module:name")
    made: Callable[..., Any] = found
    return made


def build_reward(spec: RewardSpec, context: RewardContext, params: Mapping[str, Any]) -> Reward:
    """A reward with its parameters, ready to score.

    Raises:
        UserError: it has no such parameter, or a class has no ``score_batch``.
    """
    own = list(inspect.signature(spec.make).parameters.values())[0 if inspect.isclass(spec.make) else 1 :]
    names = [p.name for p in own if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in own)
    for name in params:
        if name == "context" or (name not in names and not takes_any):
            known = ", ".join(n for n in names if n != "context") or "it takes none"
            raise UserError(f"reward {spec.name!r} has no parameter {name!r}; known: {known}")
    fixed = {**params, **({"context": context} if "context" in names else {})}
    missing = [p.name for p in own if p.name in names and p.default is p.empty and p.name not in fixed]
    if missing:
        raise UserError(f"reward {spec.name!r} needs reward_params: {spec.name}: {{{', '.join(missing)}: ...}}")
    if not inspect.isclass(spec.make):
        return partial(spec.make, **fixed)
    ready: Reward | None = getattr(spec.make(**fixed), "score_batch", None)
    if not callable(ready):
        raise UserError(f"reward {spec.name!r}: the class {spec.make.__name__} has no method score_batch(samples)")
    return ready
