"""Whether a folder is a model or an adapter that can be used, told from configurations and headers without loading it.

PEFT loads an adapter made for another number of layers without a word, so fit is checked by names and shapes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from text2sql.artifacts import read_note
from text2sql.errors import UserError

RUN = "run.json"
"""The note in a run's folder: what is trained there, by how many processes, and whether it is done."""

Shapes = dict[str, tuple[int, ...]]

_WHOLE = 64 << 20  # files up to this size are hashed in full, larger ones at both ends
_END = 4 << 20
_PARTS = (
    "config.json adapter_config.json *.safetensors pytorch_model*.bin adapter_model.bin tokenizer.json tokenizer_config.json "
    "vocab.json merges.txt added_tokens.json chat_template*"
).split()


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); copy or download it again") from error


def read_shapes(path: Path) -> Shapes:
    """Tensor shapes of one safetensors file.

    Raises:
        UserError: the file is cut short or is no safetensors file.
    """
    try:
        with safe_open(path, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: cut short or no safetensors file ({error}); copy or download it again") from error


def folder_shapes(folder: Path) -> Shapes:
    """Tensor shapes of all ``*.safetensors`` files in a folder; empty where there are none."""
    shapes: Shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        shapes.update(read_shapes(path))
    return shapes


def check_index(folder: Path) -> None:
    """Refuse a sharded model that lacks a shard."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(read_json(index)["weight_map"].values())
        missing = sorted(name for name in shards if not (folder / name).is_file())
        if missing:
            raise UserError(f"{folder}: {', '.join(missing)} is missing; download or copy the model again")


def fingerprint(folder: Path) -> str:
    """A digest of a model's or an adapter's weights, configuration, tokenizer and chat template.

    It does not depend on the folder's path. Of a file of more than 64 MB only the size and both ends count.
    """
    found = hashlib.sha256()
    for file in sorted({path for pattern in _PARTS for path in folder.glob(pattern)}):
        size = file.stat().st_size
        found.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as content:
            if size > _WHOLE:
                found.update(content.read(_END))
                content.seek(-_END, 2)
            while chunk := content.read(1 << 20):
                found.update(chunk)
    return found.hexdigest()[:16]


def check_model(folder: Path, *, weights: bool = True) -> None:
    """Require a whole model folder, without ``weights`` where training starts from scratch.

    Raises:
        UserError: no such folder, an adapter where a model is asked for, or a part of the model is missing or damaged.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such model folder; fetch it with `bash scripts/download_model.sh` (without network: copy the "
            "model's files there), or train and merge it first"
        )
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} holds an adapter, not a model; name its base as model_name_or_path and it as adapter_name_or_path"
        )
    for name in ("config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: no {name} in it, so it is not a whole model; download or copy it again")
    check_index(folder)
    found = [path for pattern in ("*.safetensors", "pytorch_model*.bin") for path in folder.glob(pattern)]
    if weights and not found:
        raise UserError(f"{folder}: no weights in it; download or train the model again")
    for path in found:
        with path.open("rb") as file:
            if file.read(64).startswith(b"version https://git-lfs"):
                raise UserError(
                    f"{path}: a Git LFS pointer, not weights; run `git lfs pull` or download the model again"
                )
    folder_shapes(folder)


def check_adapter(adapter: Path, base: Path | None) -> None:
    """Require a LoRA adapter that was trained on ``base`` and fits its layers; None: the base is not in a folder.

    Raises:
        UserError: names the folders and what is missing or disagrees.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise UserError(f"{adapter}: no adapter there; train one first (bash scripts/qwen3_1p7B_train.sh --help)")
    if not any(adapter.glob("adapter_model.*")):
        raise UserError(f"{adapter}: adapter_model.safetensors is missing; the training that wrote it did not finish")
    if base is None:
        return
    base_shapes, matched = folder_shapes(base), 0
    for name, shape in folder_shapes(adapter).items():
        module, _, part = name.removeprefix("base_model.model.").rpartition(".lora_")
        target = base_shapes.get(f"{module}.weight") or base_shapes.get(f"{module.removeprefix('model.')}.weight")
        if part not in ("A.weight", "B.weight"):
            continue
        if target is None:
            raise UserError(f"{adapter} does not fit {base}: the base has no layer {module}")
        side = 1 if part == "A.weight" else 0
        if shape[side] != target[side]:
            raise UserError(f"{adapter} does not fit {base}: {module} is {target} there, the adapter has {shape}")
        matched += 1
    if not matched:
        raise UserError(f"{adapter}: no LoRA matrices in it; give the folder that training wrote")
    run = read_note(adapter / RUN)
    if run is not None and run["made_of"]["base"] != fingerprint(base):
        raise UserError(f"{adapter} was trained on another model than {base} is now; train it again")
