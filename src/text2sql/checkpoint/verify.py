"""Compares a converted model with its checkpoint: every tensor is split again and compared bit by bit, and logits."""

import gc
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from text2sql.checkpoint.folder import load_whole
from text2sql.checkpoint.megatron import hf_names, split
from text2sql.checkpoint.shape import Shape
from text2sql.errors import UserError

_ADAPTER = """
import sys
from mcore_adapter.models.converter.post_converter import convert_checkpoint_to_hf
convert_checkpoint_to_hf(sys.argv[1], sys.argv[2], low_mem=False, verbose=False)
"""


def same_parts(parts: Mapping[str, list[Tensor]], tensors: Mapping[str, Tensor], shape: Shape) -> int:
    """Split written tensors as Megatron does, and compare them with the checkpoint; returns how many were compared.

    Raises:
        UserError: names the first tensor that differs.
    """
    head = {"lm_head.weight": tensors["model.embed_tokens.weight"]} if shape.tied else {}
    for name, pieces in parts.items():
        for piece, again in zip(pieces, _again(name, pieces, {**tensors, **head}, shape), strict=True):
            if not torch.equal(piece[: len(again)].to(again.dtype), again):
                raise UserError(f"{name} differs from the checkpoint after conversion")
    return len(parts)


def _again(name: str, pieces: list[Tensor], tensors: Mapping[str, Tensor], shape: Shape) -> list[Tensor]:
    if hf_names(name)[0] != "vocab":
        return split(name, tensors, shape, len(pieces))
    whole = tensors[hf_names(name)[1][0]]  # each process has as many rows as the padded vocabulary gives it
    size = len(pieces[0])
    return [whole[size * rank : size * (rank + 1)] for rank in range(len(pieces))]


def same_tensors(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], what: str) -> int:
    """Compare tensors by name in the other's dtype; returns how many were compared.

    Raises:
        UserError: one differs or is missing.
    """
    for name, tensor in ours.items():
        if name not in theirs or not torch.equal(tensor.to(theirs[name].dtype), theirs[name]):
            raise UserError(f"{name} differs from {what}")
    return len(ours)


def same_as_adapter(checkpoint: Path, tensors: Mapping[str, Tensor]) -> int:
    """Convert with mcore_adapter as well, in a process of its own, and compare; returns how many tensors were compared.

    Raises:
        UserError: its converter failed, or gives other tensors.
    """
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-c", _ADAPTER, str(checkpoint), place]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise UserError(f"mcore_adapter's own converter failed on {checkpoint}: {last}")
        return same_tensors(tensors, load_whole(Path(place)), "what mcore_adapter's converter gives")


def same_logits(model: Path, reference: Path | None, tolerance: float) -> tuple[float | None, int]:
    """Run the converted model on a fixed batch in float32, and compare its logits with ``reference``.

    ``reference`` is a Hugging Face folder, or a safetensors file with ``input_ids`` and the original model's ``logits``.

    Returns:
        The largest absolute difference (None without a reference), and the number of logits.

    Raises:
        UserError: weights are missing, logits are not finite, or differ by more than ``tolerance``.
    """
    stored = load_file(reference) if reference and reference.is_file() else {}
    if stored and not stored.keys() >= {"input_ids", "logits"}:
        raise UserError(f"{reference}: a reference file has input_ids and logits, this has {', '.join(sorted(stored))}")
    ours, ids = _run(model, stored.get("input_ids"))
    if not torch.isfinite(ours).all():
        raise UserError("the converted model's logits are not finite; the checkpoint's weights are damaged")
    if reference is None:
        return None, ours.numel()
    theirs = stored["logits"] if stored else _run(reference, ids)[0]
    if theirs.shape != ours.shape:
        raise UserError(
            f"{reference}: logits of shape {tuple(theirs.shape)}, the converted model's are {tuple(ours.shape)}"
        )
    difference = float((ours - theirs.float()).abs().max())
    if difference > tolerance:
        raise UserError(f"logits differ from {reference} by {difference:.2g}, more than tolerance {tolerance:g}")
    return difference, ours.numel()


def _run(folder: Path, ids: Tensor | None) -> tuple[Tensor, Tensor]:
    from transformers import AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: a reference is a model folder or a safetensors file")
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    wrong = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    if wrong:
        raise UserError(f"{folder}: transformers does not find its weights in it ({wrong[0]})")
    if ids is None:
        draw = torch.Generator().manual_seed(0)
        ids = torch.randint(model.config.vocab_size, (2, 32), generator=draw)
    with torch.inference_mode():
        logits: Tensor = model(input_ids=ids).logits
    del model
    gc.collect()
    return logits.float(), ids
