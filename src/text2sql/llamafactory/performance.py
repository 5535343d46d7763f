"""Records how fast a training is and what memory it takes, in ``performance.jsonl`` of its output folder.

The trainer's own log has losses and the time left. How long steps take, how many tokens pass and what else costs time
(evaluations, checkpoints) is what decides on hardware and settings, and cannot be found afterwards.
"""

import json
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import TrainerCallback

from text2sql.artifacts import whole_file

FILE = "performance.jsonl"


@dataclass(frozen=True)
class Interval:
    """What was seen since the last row, on the first process.

    ``seconds`` of the interval, of which ``in_steps`` were optimizer steps (the rest: evaluation, checkpoints, logging);
    ``tokens`` that it trained on, of which ``padding`` were none (both 0 where the stage does not show them); megabytes of
    memory: this process's, its peak, and the GPU's peak; ``gpu_utilisation`` is a fraction (both None without a GPU).
    """

    step: int
    steps: int
    seconds: float
    in_steps: float
    tokens: int
    padding: int
    processes: int
    memory_mb: float
    peak_memory_mb: float
    gpu_memory_mb: float | None = None
    gpu_utilisation: float | None = None


class PerformanceCallback(TrainerCallback):  # type: ignore[misc]
    """Writes a row at each log of the loss, on the first process; a resumed run goes on below its checkpoint's row."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._seen = 0
        self._counts: torch.Tensor | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the file, or cut it at the step that the run goes on from; count tokens where the model shows them."""
        if not state.is_world_process_zero:
            return
        self._path = Path(args.output_dir, FILE)
        kept = [line for line in _lines(self._path) if json.loads(line)["step"] <= state.global_step]
        with whole_file(self._path) as out:
            out.writelines(kept)
        self._seen = state.global_step
        model, tokenizer = kwargs.get("model"), kwargs.get("processing_class")
        if isinstance(model, torch.nn.Module):
            padding = getattr(tokenizer, "pad_token_id", None)
            self._counts = torch.zeros(2, dtype=torch.long, device=next(model.parameters()).device)
            model.register_forward_pre_hook(self._counter(padding), with_kwargs=True)
        self._since = self._began = time.monotonic()
        self._in_steps = 0.0

    def _counter(self, padding: int | None) -> Any:
        """A hook that adds a training batch's tokens, and those that are padding, without waiting for the device."""

        def count(module: torch.nn.Module, positional: Any, named: dict[str, Any]) -> None:
            ids = named.get("input_ids")
            if module.training and self._counts is not None and ids is not None and torch.is_grad_enabled():
                self._counts[0] += ids.numel()
                if padding is not None:
                    self._counts[1] += (ids == padding).sum()

        return count

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An optimizer step begins with its first micro-batch."""
        self._began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """It has ended."""
        if self._path is not None:
            self._in_steps += time.monotonic() - self._began

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Write what was seen since the last log of the loss."""
        if self._path is None or "loss" not in (logs or {}) or state.global_step <= self._seen:
            return
        now = time.monotonic()
        tokens, padding = self._counts.tolist() if self._counts is not None else (0, 0)
        done = (
            state.global_step,
            state.global_step - self._seen,
            round(now - self._since, 3),
            round(self._in_steps, 3),
        )
        with self._path.open("a", encoding="utf-8") as out:
            row = Interval(*done, tokens, padding, max(1, args.world_size), *_memory(), *_gpu())
            out.write(json.dumps(asdict(row)) + "\n")
        self._seen, self._since, self._in_steps = state.global_step, now, 0.0
        if self._counts is not None:
            self._counts.zero_()


def _lines(path: Path) -> list[str]:
    """Whole lines of a file that a killed run may have left with half a line."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _memory() -> tuple[float, float]:
    """Megabytes of this process, now and at their peak."""
    now = psutil.Process().memory_info().rss / 2**20
    return round(now, 1), round(max(now, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), 1)


def _gpu() -> tuple[float | None, float | None]:
    """Peak megabytes of this process's GPU since the last call, and how busy the GPU is (a fraction)."""
    if not torch.cuda.is_available():
        return None, None
    import pynvml

    peak = torch.cuda.max_memory_allocated() / 2**20
    torch.cuda.reset_peak_memory_stats()
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByUUID(
        f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
    )
    return round(peak, 1), pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
