"""Looks at model folders without loading them: is it one, does the adapter fit it, is it still the same.

PEFT loads an adapter made for another number of layers without a word, so fit is checked by names and shapes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from text2sql import weights
from text2sql.errors import UserError
from text2sql.weights import check_adapter_fits, check_index, folder_shapes

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_TEXTS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json", "chat_template*")


def check_model(folder: Path) -> None:
    """Accept a model folder with weights.

    Raises:
        UserError: no such folder, an adapter where a model is asked for, or no weights in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such model folder; scripts/download_model.sh gets one, or train and merge first")
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise UserError(
                f"{folder}: a LoRA adapter; give it as adapter_name_or_path and its base as model_name_or_path"
            )
        raise UserError(f"{folder}: not a model folder (no config.json)")
    found = [path for pattern in _WEIGHTS for path in folder.glob(pattern)]
    if not found:
        raise UserError(f"{folder}: no weights (*.safetensors); download or train the model again")
    for path in found:
        with path.open("rb") as file:
            if file.read(64).startswith(b"version https://git-lfs"):
                raise UserError(
                    f"{path}: a Git LFS pointer, not weights; run `git lfs pull` or download the model again"
                )
    check_index(folder)
    folder_shapes(folder)


def check_adapter(adapter: Path, model: Path) -> None:
    """Accept an adapter whose matrices fit the model.

    Raises:
        UserError: no LoRA adapter there, or one whose matrices do not fit the model.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise UserError(
            f"{adapter}: no LoRA adapter there (no adapter_config.json); train one first, or correct the path"
        )
    weights = adapter / "adapter_model.safetensors"
    if not weights.is_file():
        raise UserError(f"{adapter}: adapter_model.safetensors is missing; the training that wrote it did not finish")
    check_adapter_fits(adapter, model)


def adapter_rank(adapter: Path) -> int:
    """The largest LoRA rank in the adapter."""
    config: dict[str, Any] = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return max([int(config["r"]), *(int(rank) for rank in (config.get("rank_pattern") or {}).values())])


def fingerprint(folder: Path) -> str:
    """A digest of weights, configuration, tokenizer and chat template: equal folders have equal ones wherever they lie."""
    texts = sorted({path for pattern in _TEXTS for path in folder.glob(pattern)})
    parts = [weights.fingerprint(folder), *(f"{path.name} {weights.fingerprint(path)}" for path in texts)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
