"""``python -m text2sql.megatron.mg2hf RECIPE [key=value ...]``: a training checkpoint to a Hugging Face folder, verified.

Takes Megatron's checkpoints, DeepSpeed's ZeRO partitions, and whole models that DeepSpeed's tensor parallelism saved. The
folder appears under its name only when every tensor was found equal; ``conversion.json`` in it says what was compared.
"""

import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from text2sql.errors import UserError, run_command
from text2sql.megatron.checkpoint import find_checkpoint, in_order, is_megatron, merge_all
from text2sql.megatron.folder import check_tensors, read_config, write_folder
from text2sql.megatron.packages import adapter_is_here
from text2sql.megatron.verify import same_as_adapter, same_logits, same_parts, same_tensors
from text2sql.megatron.zero import has_partitions, load_partitions, load_whole
from text2sql.plan import Shape
from text2sql.plan.shape import read_shape
from text2sql.recipe import load_recipe, options_from
from text2sql.train.launch import only_one
from text2sql.train.runs import find_checkpoints
from text2sql.weights import fingerprint, folder_shapes

logger = logging.getLogger("text2sql.megatron")

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Mg2hfOptions:
    """Keys of an mg2hf recipe.

    ``model_name_or_path`` has configuration and tokenizer where the checkpoint lacks them. ``reference``: a model folder,
    or a safetensors file with ``input_ids`` and ``logits``, that the result must agree with to ``tolerance``. ``dtype``
    auto keeps the checkpoint's; ``trust_checkpoint`` lets files with Python objects be unpickled.
    """

    checkpoint: Path
    output_dir: Path
    model_name_or_path: Path | None = None
    reference: Path | None = None
    tolerance: float = 1e-3
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_checkpoint: bool = False


@dataclass(frozen=True)
class Source:
    """A checkpoint's tensors under Hugging Face's names, what it is, and how to compare what was written with it."""

    words: str
    tensors: Tensors
    compare: Callable[[Tensors], int]


@dataclass(frozen=True)
class Report:
    """What was compared; ``adapter_tensors`` 0: mcore_adapter is not installed, or the checkpoint is not its own."""

    source: str
    fingerprint: str
    dtype: str
    equal_tensors: int
    adapter_tensors: int
    logits: int
    logits_difference: float | None
    reference: str


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.stdout.write(f"{__doc__}\n")
        return
    convert(options_from(Mg2hfOptions, load_recipe(Path(sys.argv[1]), sys.argv[2:]), sys.argv[1]))


def convert(options: Mg2hfOptions) -> Report:
    """Convert, verify, and rename the result to ``output_dir``; a second call finds it there.

    Raises:
        UserError: the checkpoint is not whole, or what was written is not equal to it.
    """
    _check_places(options)
    options = replace(options, checkpoint=_last_whole(options.checkpoint))
    mark = _fingerprint(options)
    if (done := _already(options.output_dir, mark)) is not None:
        logger.info("already converted: %s", options.output_dir)
        return done
    places = [options.checkpoint] + ([options.model_name_or_path] if options.model_name_or_path else [])
    config = read_config(places[::-1])
    source = _read(options, read_shape(config, options.checkpoint))
    tensors = _cast(source.tensors, options.dtype)
    check_tensors(tensors, config)
    partial = options.output_dir.with_name(f"{options.output_dir.name}.partial")
    with only_one(partial):
        _empty(partial)
        write_folder(partial, tensors, config, places)
        report = _verify(options, source, partial, mark)
        (partial / "conversion.json").write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
        (partial / ".lock").unlink()
        if options.output_dir.is_dir():
            shutil.rmtree(options.output_dir)
        partial.rename(options.output_dir)
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
    """``folder`` itself, or the last whole checkpoint of a run that ended before it left a model."""
    if not any(folder.glob("checkpoint-*")) or is_megatron(folder) or any(folder.glob("*.safetensors")):
        return folder
    whole, broken = find_checkpoints(folder)
    if not whole:
        raise UserError(f"{folder}: none of its checkpoints was finished; start the training again, which goes on")
    for path in broken:
        logger.info("%s was never finished; leaving it out", path)
    logger.info("taking %s", whole[-1])
    return whole[-1]


def _read(options: Mg2hfOptions, shape: Shape) -> Source:
    folder = options.checkpoint
    if is_megatron(folder):
        checkpoint = find_checkpoint(folder)
        parts = in_order(checkpoint, trust=options.trust_checkpoint)
        words = f"Megatron checkpoint (tensor {checkpoint.tensor} x pipeline {checkpoint.pipeline})"
        return Source(words, merge_all(parts, shape), lambda written: same_parts(parts, written, shape))
    whole = load_whole(folder)
    if has_partitions(folder):
        tensors = _untied(load_partitions(folder), shape)
        other = whole or tensors
        return Source(
            "ZeRO partitions", tensors, lambda written: same_tensors(written, other, f"the weights in {folder}")
        )
    if whole:
        return Source("whole model", whole, lambda written: same_tensors(written, whole, str(folder)))
    if any(folder.glob("global_step*")):
        raise UserError(
            f"{folder}: saved under tensor parallelism without a whole model beside it; train with "
            "gather_16bit_weights_on_model_save: true in the DeepSpeed settings"
        )
    raise UserError(f"{folder}: no checkpoint in it; name the folder that training wrote")


def _untied(tensors: Tensors, shape: Shape) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not (shape.tied and name == "lm_head.weight")}


def _cast(tensors: Tensors, dtype: str) -> Tensors:
    """All tensors in one dtype: Megatron's local norms stay in float32 when the rest is bfloat16, Hugging Face's do not."""
    wanted = tensors["model.embed_tokens.weight"].dtype if dtype == "auto" else getattr(torch, dtype)
    return {name: tensor.to(wanted).clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def _verify(options: Mg2hfOptions, source: Source, partial: Path, mark: str) -> Report:
    written = load_whole(partial)
    equal = source.compare(written)
    adapter = 0
    if (options.checkpoint / "mca_config.json").is_file() and adapter_is_here():
        adapter = same_as_adapter(options.checkpoint, written)
    logits = same_logits(partial, options.reference, options.tolerance)
    logger.info("verified: %d tensors equal to the checkpoint's, bit by bit", equal)
    if adapter:
        logger.info("verified: %d tensors equal to what mcore_adapter's converter gives", adapter)
    if logits.difference is not None:
        logger.info("verified: logits within %.1e of %s", logits.difference, options.reference)
    dtype = str(written["model.embed_tokens.weight"].dtype).removeprefix("torch.")
    reference = str(options.reference or "")
    return Report(source.words, mark, dtype, equal, adapter, logits.count, logits.difference, reference)


def _fingerprint(options: Mg2hfOptions) -> str:
    """What the result depends on; checkpoint files count as :func:`text2sql.weights.fingerprint` counts them."""
    files = sorted(options.checkpoint.rglob("*.pt")) + sorted(options.checkpoint.glob("*.safetensors"))
    lines = [options.dtype, str(options.reference), *(f"{path.name} {fingerprint(path)}" for path in files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _already(output_dir: Path, mark: str) -> Report | None:
    if not output_dir.exists():
        return None
    try:
        report = Report(**json.loads((output_dir / "conversion.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        if any(output_dir.iterdir()):
            raise UserError(f"{output_dir} holds files of another origin; choose another output_dir") from None
        return None
    return report if report.fingerprint == mark and folder_shapes(output_dir) else None


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    run_command(main)
