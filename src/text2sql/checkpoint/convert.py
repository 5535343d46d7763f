"""Convert a training checkpoint to a Hugging Face folder, and verify every tensor of the result.

Reads Megatron's checkpoints, DeepSpeed's ZeRO partitions, and whole models that DeepSpeed's tensor parallelism saved. The
folder appears under its name only when every tensor is equal to the checkpoint's; ``conversion.json`` in it is the report.
"""

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from text2sql.artifacts import check_own, digest, is_current, read_note, whole_folder, write_note
from text2sql.checkpoint.folder import (
    check_tensors,
    has_partitions,
    load_partitions,
    load_whole,
    read_config,
    write_folder,
)
from text2sql.checkpoint.megatron import in_order, merge_all
from text2sql.checkpoint.model import folder_shapes
from text2sql.checkpoint.run import find_checkpoints, find_megatron, is_megatron
from text2sql.checkpoint.shape import Shape, read_shape
from text2sql.checkpoint.verify import same_as_adapter, same_logits, same_parts, same_tensors
from text2sql.errors import UserError, run_command
from text2sql.recipe import STRICT, load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, single
from text2sql.recipe.megatron import adapter_is_here

logger = logging.getLogger("text2sql.checkpoint")
_NOTE = "conversion.json"

Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mg2hfOptions:
    """Keys of an mg2hf recipe.

    ``model_name_or_path`` provides configuration and tokenizer where the checkpoint lacks them. ``reference``: a model
    folder, or a safetensors file with ``input_ids`` and ``logits``, with whose logits the result's must agree within
    ``tolerance``. ``dtype`` auto keeps the checkpoint's; ``trust_checkpoint`` unpickles files that hold Python objects.
    """

    checkpoint: Path
    output_dir: Path
    model_name_or_path: Path | None = None
    reference: Path | None = None
    tolerance: float = 1e-3
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_checkpoint: bool = False


@dataclasses.dataclass(frozen=True)
class Source:
    """A checkpoint's tensors by Hugging Face's names, its kind in words, and the comparison of written tensors with it."""

    words: str
    tensors: Tensors
    compare: Callable[[Tensors], int]


@dataclasses.dataclass(frozen=True)
class Report:
    """What was compared; ``adapter_tensors`` is 0 where mcore_adapter is not installed or did not write the checkpoint."""

    source: str
    dtype: str
    equal_tensors: int
    adapter_tensors: int
    logits: int
    logits_difference: float | None
    reference: str


def mg2hf(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Convert a Megatron or DeepSpeed checkpoint to a Hugging Face folder, and verify every tensor of it."""
    convert(options_from(Mg2hfOptions, load_recipe(recipe, overrides or []), str(recipe)))


def convert(options: Mg2hfOptions) -> Report:
    """Convert, verify, and rename the result to ``output_dir``; a second call returns the first one's report.

    Raises:
        UserError: the checkpoint is not whole, or what was written is not equal to it.
    """
    _check_places(options)
    options = replace(options, checkpoint=_last_whole(options.checkpoint))
    made_of, note = _made_of(options), options.output_dir / _NOTE
    check_own(options.output_dir, _NOTE, "output_dir")
    if is_current(note, made_of) and folder_shapes(options.output_dir):
        logger.info("already converted: %s", options.output_dir)
        return Report(**(read_note(note) or {})["compared"])
    places = [options.checkpoint] + ([options.model_name_or_path] if options.model_name_or_path else [])
    config = read_config(places[::-1])
    source = _read(options, read_shape(config, options.checkpoint))
    tensors = _cast(source.tensors, options.dtype)
    check_tensors(tensors, config)
    with whole_folder(options.output_dir) as partial:
        write_folder(partial, tensors, config, places)
        report = _verify(options, source, partial)
        write_note(partial / _NOTE, made_of, compared=asdict(report))
    logger.info("converted %s: %s", source.words, options.output_dir)
    return report


def _check_places(options: Mg2hfOptions) -> None:
    folder = options.checkpoint
    if not folder.is_dir():
        raise UserError(f"{folder}: no such checkpoint folder; name one with checkpoint=")
    if options.output_dir.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UserError(f"output_dir {options.output_dir} is or holds the checkpoint; give a folder of its own")
    for path in (options.model_name_or_path, options.reference):
        if path is not None and not path.exists():
            raise UserError(f"{path}: no such file or folder")
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"{folder}: a LoRA adapter; merge it with `bash scripts/merge_hf_lora.sh`")


def _last_whole(folder: Path) -> Path:
    """``folder`` itself, or the last whole checkpoint in it where it is the folder of a run without a final model."""
    if not any(folder.glob("checkpoint-*")) or is_megatron(folder) or any(folder.glob("*.safetensors")):
        return folder
    whole, broken = find_checkpoints(folder)
    if not whole:
        raise UserError(f"{folder}: none of its checkpoints was finished; start the training again to continue it")
    for path in broken:
        logger.info("%s was never finished; leaving it out", path)
    logger.info("taking %s", whole[-1])
    return whole[-1]


def _read(options: Mg2hfOptions, shape: Shape) -> Source:
    folder = options.checkpoint
    if is_megatron(folder):
        checkpoint = find_megatron(folder)
        parts = in_order(checkpoint, trust=options.trust_checkpoint)
        words = f"Megatron checkpoint (tensor {checkpoint.tensor} x pipeline {checkpoint.pipeline})"
        return Source(words, merge_all(parts, shape), lambda written: same_parts(parts, written, shape))
    whole = load_whole(folder)
    if has_partitions(folder):
        tensors = load_partitions(folder)
        if shape.tied:
            tensors.pop("lm_head.weight", None)
        return Source("ZeRO partitions", tensors, lambda written: same_tensors(written, whole or tensors, str(folder)))
    if whole:
        return Source("whole model", whole, lambda written: same_tensors(written, whole, str(folder)))
    if any(folder.glob("global_step*")):
        raise UserError(
            f"{folder}: saved under tensor parallelism without a whole model beside it; train with "
            "gather_16bit_weights_on_model_save: true in the DeepSpeed settings"
        )
    raise UserError(f"{folder}: no checkpoint in it; name the folder that training wrote")


def _cast(tensors: Tensors, dtype: str) -> Tensors:
    """All tensors in one dtype: Megatron's local norms are float32 where the rest is bfloat16, Hugging Face's are not."""
    wanted = tensors["model.embed_tokens.weight"].dtype if dtype == "auto" else getattr(torch, dtype)
    return {name: tensor.to(wanted).clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def _verify(options: Mg2hfOptions, source: Source, partial: Path) -> Report:
    written = load_whole(partial)
    equal = source.compare(written)
    adapter = 0
    if (options.checkpoint / "mca_config.json").is_file() and adapter_is_here():
        adapter = same_as_adapter(options.checkpoint, written)
    difference, logits = same_logits(partial, options.reference, options.tolerance)
    logger.info("verified: %d tensors equal to the checkpoint's, bit by bit", equal)
    if adapter:
        logger.info("verified: %d tensors equal to what mcore_adapter's converter gives", adapter)
    if difference is not None:
        logger.info("verified: logits within %.1e of %s", difference, options.reference)
    dtype = str(written["model.embed_tokens.weight"].dtype).removeprefix("torch.")
    reference = str(options.reference or "")
    return Report(source.words, dtype, equal, adapter, logits, difference, reference)


def _made_of(options: Mg2hfOptions) -> dict[str, Any]:
    """What the result depends on."""
    files = sorted(options.checkpoint.rglob("*.pt")) + sorted(options.checkpoint.glob("*.safetensors"))
    return {
        "dtype": options.dtype,
        "reference": str(options.reference),
        "files": {str(path.relative_to(options.checkpoint)): digest(path) for path in files},
    }


if __name__ == "__main__":
    run_command(single(mg2hf))
