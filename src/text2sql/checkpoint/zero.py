"""Reads DeepSpeed's checkpoints: ZeRO's partitions with DeepSpeed's own converter, or a whole model.

Partitions of tensor parallelism (AutoTP) cannot be merged, but the trainer saves a whole model beside them.
"""

import pickle
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from text2sql.checkpoint.model import check_index, folder_shapes
from text2sql.errors import UserError


def has_partitions(folder: Path) -> bool:
    """True for a folder with ZeRO partitions of whole layers, which DeepSpeed's converter can merge."""
    parts = list(folder.glob("global_step*/*mp_rank_*"))
    return bool(parts) and not any("mp_rank_01" in path.name for path in parts)


def load_partitions(folder: Path) -> dict[str, Tensor]:
    """All weights in float32, gathered from the partitions of the step that the file ``latest`` names.

    DeepSpeed unpickles its files, as it does when training is resumed.

    Raises:
        UserError: partitions are missing or cut short.
    """
    latest = folder / "latest"
    if not latest.is_file() or not (folder / latest.read_text(encoding="utf-8").strip()).is_dir():
        raise UserError(
            f"{folder}: the checkpoint was never finished (no whole step is named in {latest.name}); take another"
        )
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    try:
        tensors: dict[str, Tensor] = get_fp32_state_dict_from_zero_checkpoint(str(folder))
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"{folder}: the ZeRO partitions are not whole ({reason}); convert another checkpoint"
        ) from error
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def load_whole(folder: Path) -> dict[str, Tensor]:
    """The weights in a folder's safetensors files.

    Raises:
        UserError: a file is missing or cut short.
    """
    check_index(folder)
    folder_shapes(folder)
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}
