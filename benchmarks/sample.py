"""A fixed sample of training conversations, as a data set that LLaMA-Factory reads, and how many tokens it has."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from frame import ROOT

from text2sql.errors import UserError
from text2sql.plan.batch import token_counts

Conversation = list[dict[str, str]]


def draw(data: Path, examples: int, held_out: int = 0) -> tuple[list[Conversation], list[Conversation]]:
    """``examples`` conversations of a prepared JSONL file to train on, and others to hold out.

    Raises:
        UserError: the file is not there.
    """
    if not data.is_file():
        raise UserError(f"{data}: not there; make it with bash scripts/prepare_data.sh recipes/data/spider.yaml")
    rows = [json.loads(line)["messages"] for line in data.read_text(encoding="utf-8").splitlines()]
    random.Random(7).shuffle(rows)
    return rows[:examples], rows[examples : examples + held_out]


def write(folder: Path, rows: Sequence[Conversation]) -> dict[str, object]:
    """The data set in ``folder``; returns the overrides that make a recipe train it once and evaluate nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps({"messages": row}, ensure_ascii=False) + "\n" for row in rows)
    (folder / "train.jsonl").write_text(text, encoding="utf-8")
    known = json.loads((ROOT / "data/dataset_info.json").read_text(encoding="utf-8"))["spider_train"]
    (folder / "dataset_info.json").write_text(json.dumps({"sample": {**known, "file_name": "train.jsonl"}}))
    return {
        "dataset_dir": folder,
        "dataset": "sample",
        "eval_dataset": None,
        "val_size": 0,
        "max_steps": -1,
        "num_train_epochs": 1,
        "preprocessing_batch_size": len(rows),
        "eval_strategy": "no",
        "eval_examples": None,
        "save_strategy": "no",
        "load_best_model_at_end": False,
        "early_stopping_steps": None,
    }


def lengths(model: Path, rows: Sequence[Conversation], cutoff: int) -> list[int]:
    """Tokens of each conversation as it is trained on: at most ``cutoff``."""
    return [min(cutoff, count) for count in token_counts(model / "tokenizer.json", rows)]
