"""Finds the whole checkpoints of a training run, which are those that can be resumed from or converted.

Megatron-LM, Megatron core's users and mcore_adapter (``ckpt_format: legacy``) write ``iter_0000010/mp_rank_TT[_PPP]/
model_optim_rng.pt``, one file for each tensor- and pipeline-parallel process; all must be there.
"""

import json
import logging
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from text2sql.artifacts import read_note
from text2sql.checkpoint.model import RUN, read_json, read_shapes
from text2sql.errors import UserError

logger = logging.getLogger(__name__)

TRACKER = "latest_checkpointed_iteration.txt"
MCA_CONFIG = "mca_config.json"
_STATES = "model_optim_rng.pt"
_RANK = re.compile(r"mp_rank_(\d{2})(?:_(\d{3}))?\Z")
RETRY = "convert another checkpoint, or save this one again"


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
            find_megatron(checkpoint)
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


@dataclass(frozen=True)
class MegatronCheckpoint:
    """A whole checkpoint: its tensor- and pipeline-parallel sizes, and ``files[tensor rank, pipeline rank]``."""

    folder: Path
    tensor: int
    pipeline: int
    files: dict[tuple[int, int], Path]


def is_megatron(folder: Path) -> bool:
    """True for a folder that holds a Megatron checkpoint, whole or not."""
    return (folder / TRACKER).is_file() or any(_rank_folders(folder)) or any(folder.glob("iter_*/mp_rank_*"))


def find_megatron(folder: Path) -> MegatronCheckpoint:
    """The checkpoint in ``folder``, which is an iteration's folder, or has a tracker file that names the last iteration.

    Raises:
        UserError: there is none, it is not whole, or it is of another format.
    """
    at = _iteration(folder)
    root = folder if (folder / MCA_CONFIG).is_file() else at.parent
    if (at / "dist_model").is_dir() or (at / ".metadata").is_file():
        raise UserError(f"{at}: saved with ckpt_format: torch_dist; save with ckpt_format: legacy to convert it")
    ranks = _rank_folders(at)
    if not ranks:
        raise UserError(f"{at}: no mp_rank_ folders in it; {RETRY}")
    path = root / MCA_CONFIG  # of mcore_adapter
    config = read_json(path) if path.is_file() else {}
    if int(config.get("expert_model_parallel_size") or 1) > 1:
        raise UserError(f"{path}: a checkpoint with expert parallelism; only dense models can be converted")
    tensor = int(config.get("tensor_model_parallel_size") or 1 + max(t for t, _ in ranks))
    pipeline = int(config.get("pipeline_model_parallel_size") or 1 + max(p for _, p in ranks))
    files = {}
    for rank in ((t, p) for t in range(tensor) for p in range(pipeline)):
        name = f"mp_rank_{rank[0]:02d}" + (f"_{rank[1]:03d}" if pipeline > 1 else "")
        path = ranks.get(rank, at / name) / _STATES
        if not path.is_file():
            raise UserError(
                f"{path} is missing: the checkpoint of {tensor} x {pipeline} processes is not whole; {RETRY}"
            )
        files[rank] = path
    return MegatronCheckpoint(at, tensor, pipeline, files)


def _iteration(folder: Path) -> Path:
    tracker = folder / TRACKER
    if not tracker.is_file():
        return folder
    text = tracker.read_text(encoding="utf-8").strip()
    if text != "release" and not text.isdigit():
        raise UserError(f"{tracker}: {text[:40]!r} is no iteration; {RETRY}")
    at = folder / (text if text == "release" else f"iter_{int(text):07d}")
    if not at.is_dir():
        raise UserError(f"{at} is missing, although {TRACKER} names it; {RETRY}")
    for newer in sorted(path for path in folder.glob("iter_*") if path.is_dir() and path.name > at.name):
        logger.info("%s was never finished; taking %s", newer, at)
    return at


def _rank_folders(folder: Path) -> dict[tuple[int, int], Path]:
    found = ((_RANK.match(path.name), path) for path in folder.glob("mp_rank_*") if (path / _STATES).exists())
    return {(int(match[1]), int(match[2] or 0)): path for match, path in found if match}
