"""Finds the whole checkpoints of a training run, which are those that can be resumed from or converted."""

import json
import zipfile
from pathlib import Path

from text2sql.artifacts import read_note
from text2sql.checkpoint.weights import read_shapes
from text2sql.errors import UserError

RUN = "run.json"
"""The note in a run's folder: what is trained there, by how many processes, and whether it is done."""


def find_checkpoints(output_dir: Path) -> tuple[list[Path], list[Path]]:
    """The checkpoints in a run's folder by their steps: those that are whole, and those that were never finished."""
    run = read_note(output_dir / RUN)
    found = sorted(output_dir.glob("checkpoint-*"), key=step_of)
    whole = [path for path in found if is_whole(path, run["processes"] if run else None)]
    return whole, [path for path in found if path not in whole]


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint folder's name; -1 where it has none."""
    number = checkpoint.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else -1


def is_whole(checkpoint: Path, processes: int | None = None) -> bool:
    """True when as many ``processes`` can resume from it; None: as many as saved a random state.

    The trainer's state, which the first process writes last, is there; every process has saved its part; no file is cut.
    """
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        weights = list(checkpoint.glob("*.safetensors"))
        for path in weights:
            read_shapes(path)
        if any(checkpoint.glob("iter_*")):
            from text2sql.checkpoint.megatron import find_checkpoint  # imports torch

            find_checkpoint(checkpoint)
    except (OSError, ValueError, UserError):
        return False
    found = weights or list(checkpoint.glob("*.bin")) or list(checkpoint.glob("global_step*"))
    return bool(found) and state.get("global_step") == step_of(checkpoint) and _has_all_parts(checkpoint, processes)


def _has_all_parts(checkpoint: Path, processes: int | None) -> bool:
    """True when every process's random state and DeepSpeed partition are there; with neither, only weights were saved."""
    patterns = ("*.pth", "optimizer.pt", "global_step*/*.pt", "iter_*/*/*.pt")
    files = [path for pattern in patterns for path in checkpoint.glob(pattern)]
    states = [path for path in files if path.name.startswith("rng_state")]
    processes = processes or max(1, len(states))
    if states and len(states) < processes:
        return False
    if list(checkpoint.glob("global_step*")):
        latest = checkpoint / "latest"
        named = checkpoint / latest.read_text(encoding="utf-8").strip() if latest.is_file() else None
        if named is None or len(list(named.glob("*_optim_states.pt"))) != processes:
            return False
    return all(zipfile.is_zipfile(path) for path in files)  # torch's format, whose directory is at the end
