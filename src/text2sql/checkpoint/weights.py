"""A model folder's tensor shapes and fingerprint, read without loading it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from text2sql.errors import UserError

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
