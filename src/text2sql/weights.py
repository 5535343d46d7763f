"""What can be told about a model folder without loading it: from the headers of its safetensors files."""

import hashlib
import json
from pathlib import Path
from typing import Any

from text2sql.errors import UserError

Shapes = dict[str, tuple[int, ...]]

_WHOLE = 64 << 20  # files up to this size are hashed in full, larger ones at both ends
_END = 4 << 20


def read_shapes(path: Path) -> Shapes:
    """Tensor shapes of one safetensors file.

    Raises:
        UserError: the file is cut short or is no safetensors file.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                raise ValueError("header longer than the file")
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a safetensors file ({error}); copy or download it again") from error
    if size < 8 + length + end:
        raise UserError(f"{path}: cut short ({size} of {8 + length + end} bytes); copy or download it again")
    return {name: tuple(tensor["shape"]) for name, tensor in header.items()}


def folder_shapes(folder: Path) -> Shapes:
    """Tensor shapes of all ``*.safetensors`` files in a folder; empty where there are none."""
    shapes: Shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        shapes.update(read_shapes(path))
    return shapes


def check_index(folder: Path) -> None:
    """Refuse a sharded model of which a shard is missing."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(name for name in shards if not (folder / name).is_file())
        if missing:
            raise UserError(f"{folder}: {', '.join(missing)} is missing; download or copy the model again")


def fingerprint(path: Path) -> str:
    """A hash of a file, or of a model folder's configuration and weights; large files count by size and both ends."""
    digest = hashlib.sha256()
    files = [path]
    if path.is_dir():
        names = ("config.json", "adapter_config.json", "*.safetensors", "*.bin")
        files = sorted(file for name in names for file in path.glob(name) if file.name != "training_args.bin")
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as content:
            if size > _WHOLE:
                digest.update(content.read(_END))
                content.seek(-_END, 2)
            while chunk := content.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()[:16]


def check_adapter_fits(adapter: Path, base: Path) -> None:
    """Refuse an adapter whose matrices do not fit the layers of ``base``, or that was trained on other weights.

    Raises:
        UserError: names both folders and what disagrees.
    """
    base_shapes, matched = folder_shapes(base), 0
    for name, shape in folder_shapes(adapter).items():
        module, _, part = name.removeprefix("base_model.model.").rpartition(".lora_")
        target = base_shapes.get(f"{module}.weight") or base_shapes.get(f"{module.removeprefix('model.')}.weight")
        if part not in ("A.weight", "B.weight"):
            continue
        if target is None:
            raise UserError(f"{adapter} does not fit {base}: the base has no layer {module}")
        if shape[1 if part == "A.weight" else 0] != target[1 if part == "A.weight" else 0]:
            raise UserError(f"{adapter} does not fit {base}: {module} is {target} there, the adapter has {shape}")
        matched += 1
    if not matched:
        raise UserError(f"{adapter}: no LoRA matrices in it; give the folder that training wrote")
    run = adapter / "run.json"
    if run.is_file():
        trained_on = json.loads(run.read_text(encoding="utf-8")).get("base")
        if trained_on and trained_on != fingerprint(base):
            raise UserError(f"{adapter} was trained on other weights than those in {base} now; train it again")
