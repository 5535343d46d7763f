"""Which checkpoints of a training run are whole: only those can be resumed from or converted."""

import json
import zipfile
from pathlib import Path

from text2sql.artifacts import read_note
from text2sql.checkpoint.weights import read_shapes
from text2sql.errors import UserError

RUN = "run.json"
"""The note in a run's folder: what is trained there, by how many processes, and whether it is done."""


def find_checkpoints(output_dir: Path) -> tuple[list[Path], list[Path]]:
    """The whole checkpoints in a run's folder, the last one last, and those that were never finished."""
    run = read_note(output_dir / RUN)
    found = sorted(output_dir.glob("checkpoint-*"), key=step_of)
    whole = [path for path in found if is_whole(path, run["processes"] if run else 1)]
    return whole, [path for path in found if path not in whole]


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint folder's name; -1 where it has none."""
    number = checkpoint.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else -1


def is_whole(checkpoint: Path, processes: int = 1) -> bool:
    """True when training by as many ``processes`` can go on from it.

    The state is there, which the first process writes last; each process has left its own part; and nothing is cut.
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


def _has_all_parts(checkpoint: Path, processes: int) -> bool:
    """True when every process's random state and DeepSpeed partition are there; without either only weights were saved."""
    patterns = ("*.pth", "optimizer.pt", "global_step*/*.pt", "iter_*/*/*.pt")
    files = [path for pattern in patterns for path in checkpoint.glob(pattern)]
    states = [path for path in files if path.name.startswith("rng_state")]
    if states and len(states) < processes:
        return False
    if list(checkpoint.glob("global_step*")):
        latest = checkpoint / "latest"
        named = checkpoint / latest.read_text(encoding="utf-8").strip() if latest.is_file() else None
        if named is None or len(list(named.glob("*_optim_states.pt"))) != processes:
            return False
    return all(zipfile.is_zipfile(path) for path in files)  # torch's format, whose directory is at the end
