"""The files of a Megatron checkpoint in the layout ``iter_0000010/mp_rank_TT[_PPP]/model_optim_rng.pt``.

Megatron-LM, Megatron core's users and mcore_adapter (``ckpt_format: legacy``) all write it, one file for each tensor- and
pipeline-parallel process. A checkpoint is used only when all of its files are there.
"""

import logging
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from text2sql.checkpoint.shape import Shape
from text2sql.checkpoint.shards import EMBEDDING, HEAD, LAYER, merge
from text2sql.checkpoint.weights import read_json
from text2sql.errors import UserError

logger = logging.getLogger(__name__)

TRACKER = "latest_checkpointed_iteration.txt"
MCA_CONFIG = "mca_config.json"
_STATES = "model_optim_rng.pt"
_RANK = re.compile(r"mp_rank_(\d{2})(?:_(\d{3}))?\Z")
_RETRY = "convert another checkpoint, or save this one again"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: its tensor- and pipeline-parallel sizes, and ``files[tensor rank, pipeline rank]``."""

    folder: Path
    tensor: int
    pipeline: int
    files: dict[tuple[int, int], Path]


def is_megatron(folder: Path) -> bool:
    """True for a folder that holds a Megatron checkpoint, whole or not."""
    return (folder / TRACKER).is_file() or any(_rank_folders(folder)) or any(folder.glob("iter_*/mp_rank_*"))


def find_checkpoint(folder: Path) -> Checkpoint:
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
        raise UserError(f"{at}: no mp_rank_ folders in it; {_RETRY}")
    config = _read_config(root / MCA_CONFIG)
    tensor = int(config.get("tensor_model_parallel_size") or 1 + max(t for t, _ in ranks))
    pipeline = int(config.get("pipeline_model_parallel_size") or 1 + max(p for _, p in ranks))
    files = {}
    for rank in ((t, p) for t in range(tensor) for p in range(pipeline)):
        name = f"mp_rank_{rank[0]:02d}" + (f"_{rank[1]:03d}" if pipeline > 1 else "")
        path = ranks.get(rank, at / name) / _STATES
        if not path.is_file():
            raise UserError(
                f"{path} is missing: the checkpoint of {tensor} x {pipeline} processes is not whole; {_RETRY}"
            )
        files[rank] = path
    return Checkpoint(at, tensor, pipeline, files)


def _iteration(folder: Path) -> Path:
    tracker = folder / TRACKER
    if not tracker.is_file():
        return folder
    text = tracker.read_text(encoding="utf-8").strip()
    if text != "release" and not text.isdigit():
        raise UserError(f"{tracker}: {text[:40]!r} is no iteration; {_RETRY}")
    at = folder / (text if text == "release" else f"iter_{int(text):07d}")
    if not at.is_dir():
        raise UserError(f"{at} is missing, although {TRACKER} names it; {_RETRY}")
    for newer in sorted(path for path in folder.glob("iter_*") if path.is_dir() and path.name > at.name):
        logger.info("%s was never finished; taking %s", newer, at)
    return at


def _rank_folders(folder: Path) -> dict[tuple[int, int], Path]:
    found = ((_RANK.match(path.name), path) for path in folder.glob("mp_rank_*") if (path / _STATES).exists())
    return {(int(match[1]), int(match[2] or 0)): path for match, path in found if match}


def _read_config(path: Path) -> dict[str, Any]:
    """mcore_adapter's configuration; empty for other checkpoints."""
    config = read_json(path) if path.is_file() else {}
    if int(config.get("expert_model_parallel_size") or 1) > 1:
        raise UserError(f"{path}: a checkpoint with expert parallelism; only dense models can be converted")
    return config


def load_states(path: Path, *, trust: bool = False) -> list[dict[str, Tensor]]:
    """The tensors of one process, one dictionary for each virtual pipeline stage; ``trust`` unpickles other objects too.

    Raises:
        UserError: the file is cut short, holds no model, or holds Python objects and is not trusted.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=not trust, mmap=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "weights_only" in str(error).lower():
            raise UserError(
                f"{path}: holds Python objects beside tensors; if you trust who made it, add trust_checkpoint=true"
            ) from error
        raise UserError(f"{path}: not a checkpoint file; {_RETRY}") from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"{path}: cut short or damaged ({str(error).splitlines()[0][:80]}); {_RETRY}") from error
    found = {int(match[1] or 0): key for key in content if (match := re.fullmatch(r"model(\d*)", str(key)))}
    names = [found[stage] for stage in sorted(found)]
    if not names:
        raise UserError(f"{path}: no model in it; {_RETRY}")
    return [{key: value for key, value in content[name].items() if isinstance(value, Tensor)} for name in names]


def in_order(checkpoint: Checkpoint, *, trust: bool = False) -> dict[str, list[Tensor]]:
    """Every Megatron tensor by its name in the whole model, with its parts on all tensor-parallel processes.

    Each pipeline stage numbers its layers from zero; here they are numbered through the model, whose order is all stages'
    first virtual stage, then all stages' second one, and so on.

    Raises:
        UserError: a file is damaged, or processes hold different tensors.
    """
    states = {rank: load_states(path, trust=trust) for rank, path in checkpoint.files.items()}
    found: dict[str, list[Tensor]] = {}
    before = 0
    for chunk in range(len(states[0, 0])):
        for stage in range(checkpoint.pipeline):
            parts = [states[rank, stage][chunk] for rank in range(checkpoint.tensor)]
            if any(part.keys() != parts[0].keys() for part in parts):
                raise UserError(f"{checkpoint.folder}: the processes of stage {stage} hold different tensors; {_RETRY}")
            layers = [int(name.split(".")[2]) for name in parts[0] if name.startswith(LAYER)]
            for name in parts[0]:
                if not name.endswith("_extra_state"):
                    found[_renumbered(name, before)] = [part[name] for part in parts]
            before += max(layers, default=-1) + 1
    return found


def _renumbered(name: str, before: int) -> str:
    if not name.startswith(LAYER):
        return name
    layer, _, inside = name.removeprefix(LAYER).partition(".")
    return f"{LAYER}{int(layer) + before}.{inside}"


def merge_all(parts: dict[str, list[Tensor]], shape: Shape) -> dict[str, Tensor]:
    """All Hugging Face tensors; the last pipeline stage's copy of a tied embedding is checked and left out.

    Raises:
        UserError: parts do not fit, or the copies of a tied embedding differ.
    """
    tensors: dict[str, Tensor] = {}
    for name, pieces in parts.items():
        tensors |= merge(name, pieces, shape)
    head = tensors.get("lm_head.weight")
    if shape.tied and head is not None:
        if not torch.equal(head, tensors["model.embed_tokens.weight"]):
            raise UserError(
                f"{EMBEDDING} and {HEAD} differ, but the model ties them; the stages were not saved at one step"
            )
        del tensors["lm_head.weight"]
    return tensors
