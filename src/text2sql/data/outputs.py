"""Names, digests and descriptions of the files that preparation leaves."""

import hashlib
import json
import random
from array import array
from pathlib import Path
from typing import Any

_FILES = {"messages": "sft", "alpaca": "alpaca", "ranking": "ranking", "grpo": "grpo"}


def data_hash(path: Path) -> str:
    """SHA-256 of a file's content, the first 16 hexadecimal digits: what the ledger calls ``data_hash``."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def file_of(kind: str, split: str) -> str:
    """The training file of a format and split."""
    return f"{_FILES[kind]}_{split}.jsonl"


def shuffled(places: "array[int]", seed: int) -> "array[int]":
    """The places in random order: Megatron reads lines in order, and ``max_samples`` takes the first."""
    mixed = array("q", places)
    random.Random(seed).shuffle(mixed)
    return mixed


def write_json(target: Path, value: object) -> None:
    """Write JSON under a temporary name and rename."""
    partial = target.with_name(target.name + ".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    partial.replace(target)


def dataset_info(name: str, splits: tuple[str, ...], formats: list[str]) -> dict[str, Any]:
    """LLaMA-Factory's description of the training files, for ``dataset_dir`` set to the output folder.

    Messages are ``<name>_<split>``; other formats have their own name at the end.
    """
    return {
        f"{name}_{split}" + ("" if kind == "messages" else f"_{kind}"): {
            "file_name": file_of(kind, split),
            **_DESCRIPTIONS[kind],
        }
        for split in splits
        for kind in formats
    }


_TAGS = {f"{role}_tag": role for role in ("role", "content", "user", "assistant", "system")}
_MESSAGES: dict[str, Any] = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _TAGS}
_DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "messages": _MESSAGES,
    "grpo": _MESSAGES,
    "alpaca": {
        "formatting": "alpaca",
        "columns": {"prompt": "instruction", "query": "input", "response": "output", "system": "system"},
    },
    "ranking": {
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "messages", "chosen": "chosen", "rejected": "rejected"},
        "tags": _TAGS,
    },
}
