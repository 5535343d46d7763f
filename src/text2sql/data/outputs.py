"""The files that preparation leaves: parts while it runs, then examples, rejected rows and training files."""

import hashlib
import json
import random
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from text2sql.data.sources import Unit
from text2sql.data.statistics import SplitStatistics, prompt_chars
from text2sql.prompts import training_messages
from text2sql.records import Example, read_jsonl, write_jsonl


def data_hash(path: Path) -> str:
    """SHA-256 of a file's content, the first 16 hexadecimal digits: what the ledger calls ``data_hash``."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def write_part(target: Path, unit: Unit) -> None:
    """Make one unit and write its rows, whole or not at all; a rejected row is known by its ``reason``."""
    write_jsonl(target, (asdict(row) for row in unit.make()))


def _part_rows(parts: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for part in parts:
        with part.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def write_examples(parts: list[Path], target: Path, statistics: SplitStatistics) -> None:
    """Join a split's parts, in their order, into its examples file."""

    def kept() -> Iterator[Example]:
        for row in _part_rows(parts):
            if "reason" in row:
                statistics.rejected[row["reason"]] += 1
                continue
            example = Example(**row)
            statistics.add(example)
            yield example

    write_jsonl(target, kept())


def write_rejected(parts: list[Path], target: Path) -> int:
    """Gather what was left out, with its reason; returns how many rows."""
    return write_jsonl(target, (row for row in _part_rows(parts) if "reason" in row))


def write_training_file(examples: Path, target: Path, limit: int | None, shuffle: random.Random | None) -> int:
    """Write LLaMA-Factory's ``{"messages": [...]}`` lines for an examples file; returns how many.

    A prompt of more than ``limit`` characters is left out. With ``shuffle`` the lines are mixed, because
    Megatron reads them in order and ``max_samples`` takes the first.
    """
    rows = read_jsonl(examples, Example) if shuffle is None else _mixed(examples, shuffle)
    fitting = (row for row in rows if limit is None or prompt_chars(row) <= limit)
    return write_jsonl(target, ({"messages": training_messages(row)} for row in fitting))


def _mixed(examples: Path, shuffle: random.Random) -> Iterator[Example]:
    """The examples in random order, by their offsets: eight bytes of memory a row."""
    offsets = array("Q")
    with examples.open("rb") as stream:
        position = 0
        for line in stream:
            offsets.append(position)
            position += len(line)
        shuffle.shuffle(offsets)
        for offset in offsets:
            stream.seek(offset)
            yield Example(**json.loads(stream.readline()))


def write_json(target: Path, value: object) -> None:
    """Write JSON under a temporary name and rename."""
    partial = target.with_name(target.name + ".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    partial.replace(target)


def dataset_info(name: str, splits: tuple[str, ...]) -> dict[str, Any]:
    """LLaMA-Factory's description of the training files, for ``dataset_dir`` set to the output folder."""
    tags = {f"{role}_tag": role for role in ("role", "content", "user", "assistant", "system")}
    return {
        f"{name}_{split}": {
            "file_name": f"sft_{split}.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": tags,
        }
        for split in splits
    }
