"""Reads DeepSpeed's checkpoints and whole models, and writes a Hugging Face folder: configuration, tokenizer, tensors.

ZeRO's partitions are read with DeepSpeed's own converter. Partitions of tensor parallelism (AutoTP) cannot be merged, but
the trainer saves a whole model beside them.
"""

import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from text2sql.checkpoint.model import check_index, folder_shapes
from text2sql.checkpoint.run import MCA_CONFIG
from text2sql.errors import UserError

_TOKENIZER = (
    "tokenizer* special_tokens_map.json added_tokens.json vocab.json merges.txt chat_template.jinja generation_config.json"
).split()


def read_config(places: list[Path]) -> dict[str, Any]:
    """The Hugging Face configuration: the first ``config.json``, or the one inside mcore_adapter's configuration.

    Raises:
        UserError: there is none.
    """
    for place in places:
        for path in (place / "config.json", place / MCA_CONFIG):
            try:
                found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
                found = json.loads(found.get("hf_config_json") or "{}") if path.name == MCA_CONFIG else found
            except ValueError as error:
                raise UserError(f"{path}: not JSON ({error})") from error
            if found:
                return {key: value for key, value in found.items() if key != "_name_or_path"}
    raise UserError(f"{places[0]}: no config.json in it; name the base model with model_name_or_path=")


def check_tensors(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Refuse tensors that are not exactly those of the configuration's model.

    Raises:
        UserError: names a tensor that is missing, not expected, or of another shape.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    given = {key: value for key, value in config.items() if key != "model_type"}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **given))
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.get("tie_word_embeddings"):
        expected.pop("lm_head.weight", None)
    missing, more = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or more:
        raise UserError(
            f"the checkpoint is not of the model that model_name_or_path names: {len(missing)} tensors are missing and "
            f"{len(more)} too many (first: {(missing + more)[0]})"
        )
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise UserError(
                f"{name} is {tuple(tensors[name].shape)} in the checkpoint and {shape} by the configuration"
            )


def write_folder(folder: Path, tensors: dict[str, Tensor], config: Mapping[str, Any], places: list[Path]) -> None:
    """Write tensors, the configuration with their dtype, and the first tokenizer and generation settings of ``places``.

    Raises:
        UserError: no place has a tokenizer.
    """
    from huggingface_hub import save_torch_state_dict

    dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    named = {key: value for key, value in config.items() if key != "torch_dtype"} | {"dtype": dtype}
    (folder / "config.json").write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")
    found = next((place for place in places if (place / "tokenizer_config.json").is_file()), None)
    if found is None:
        raise UserError(f"{places[0]}: no tokenizer in it; name the base model with model_name_or_path=")
    for place in (found, *places):
        for path in (path for pattern in _TOKENIZER for path in place.glob(pattern)):
            if place == found or (path.name == "generation_config.json" and not (folder / path.name).exists()):
                shutil.copyfile(path, folder / path.name)
    save_torch_state_dict(tensors, folder, metadata={"format": "pt"})


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
