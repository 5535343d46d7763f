"""Runs a recipe through the real script and watches it: time between first and last step, CPU time, peak memory.

Timing starts after the first step, so that start-up and compilation do not count; CPU seconds are those of all processes,
for machines that do other things as well.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from frame import ROOT

from text2sql.errors import UserError

_TICK = 0.1


@dataclass(frozen=True)
class TrainingRun:
    """What a finished run cost. ``seconds`` and ``cpu_seconds`` are of ``timed_steps`` steps, the first one left out.

    A run of few and fast steps may have no timed ones.

    ``peak_bytes``: largest resident set of a process; ``gpu_peak_bytes``: most memory in use on a GPU, 0 without one.
    """

    steps: int
    timed_steps: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    gpu_peak_bytes: int
    output_dir: Path


@dataclass
class _Watch:
    """Samples of a process tree while its trainer's log grows."""

    log: Path
    marks: list[tuple[int, float, float]] = field(default_factory=list)  # bytes of log, seconds, CPU seconds
    peak: int = 0
    gpu_peak: int = 0
    cpu: dict[int, float] = field(default_factory=dict)  # seconds of each process, also of those that have ended

    def look(self, root: psutil.Process) -> None:
        for process in [root, *root.children(recursive=True)]:
            try:
                times = process.cpu_times()
                self.cpu[process.pid] = times.user + times.system
                status = Path(f"/proc/{process.pid}/status").read_text()
            except (psutil.Error, OSError):
                continue
            if found := re.search(r"VmHWM:\s+(\d+) kB", status):
                self.peak = max(self.peak, int(found[1]) * 1024)
        self.gpu_peak = max(self.gpu_peak, *_gpu_bytes())
        size = self.log.stat().st_size if self.log.is_file() else 0
        if size and (not self.marks or size > self.marks[-1][0]):
            self.marks.append((size, time.monotonic(), sum(self.cpu.values())))


def train(recipe: Path, overrides: dict[str, object], processes: int = 1) -> TrainingRun:
    """Train from scratch in ``overrides["output_dir"]``; the run logs every step.

    Raises:
        UserError: the script failed; the end of its output is in the message.
    """
    output_dir = Path(str(overrides["output_dir"]))
    given = {"logging_steps": 1, "report_to": "none", "plot_loss": False, "overwrite_output_dir": True, **overrides}
    script = ROOT / "scripts/qwen3_1p7B_train.sh"
    words = [f"{key}={'null' if value is None else str(value)}" for key, value in given.items()]
    environment = {**os.environ, "NPROC_PER_NODE": str(processes)} if processes > 1 else dict(os.environ)
    (output_dir / "trainer_log.jsonl").unlink(missing_ok=True)
    watch = _Watch(output_dir / "trainer_log.jsonl")
    command = ["bash", str(script), str(recipe), *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, cwd=ROOT, **pipes) as child:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(child.stdout or ()))
        reader.start()
        root = psutil.Process(child.pid)
        while child.poll() is None:
            watch.look(root)
            time.sleep(_TICK)
        reader.join()
    if child.returncode:
        raise UserError(f"{recipe.name}: training failed\n{''.join(lines[-30:])}")
    return _result(watch, output_dir)


def _gpu_bytes() -> list[int]:
    """Memory in use on each GPU; a zero where there is none."""
    if shutil.which("nvidia-smi") is None:
        return [0]
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True)
    return [0, *(int(line) << 20 for line in answer.stdout.split("\n") if line.strip().isdigit())]


def _result(watch: _Watch, output_dir: Path) -> TrainingRun:
    logged = [json.loads(line) for line in watch.log.read_text(encoding="utf-8").splitlines()]
    steps = [row["current_steps"] for row in logged if "loss" in row]
    if not watch.marks:
        watch.marks = [(watch.log.stat().st_size, 0.0, 0.0)]  # over between two looks
    (first_bytes, start, cpu), (_, end, cpu_end) = watch.marks[0], watch.marks[-1]
    seen = watch.log.read_bytes()[:first_bytes].count(b"\n")  # steps that were over when the clock began
    return TrainingRun(
        max(steps), max(steps) - seen, end - start, cpu_end - cpu, watch.peak, watch.gpu_peak, output_dir
    )
