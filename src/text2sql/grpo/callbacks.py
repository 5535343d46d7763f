"""Where a step's time goes: generation, rewards, and the update (everything else in the step)."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback


class StepClock(TrainerCallback):  # type: ignore[misc]
    """Wall time of optimizer steps, from before their first batch is generated until the weights are updated."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._steps = 0
        self._began = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """A step begins."""
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """A step has ended."""
        self._seconds["step"] += time.perf_counter() - self._began
        self._steps += 1

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Count what runs inside as ``part`` of the step."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - began

    def take(self) -> dict[str, float]:
        """Mean seconds a step since the last call, by part, and the rewards' share; empty before the first step."""
        seconds, steps = self._seconds, self._steps
        if not steps:
            return {}
        self._seconds, self._steps = defaultdict(float), 0
        parts = {part: seconds[part] / steps for part in ("step", "generation", "reward")}
        parts["update"] = parts["step"] - parts["generation"] - parts["reward"]
        times = {f"time/{part}": value for part, value in parts.items()}
        return times | {"time/reward_share": parts["reward"] / parts["step"] if parts["step"] else 0.0}
