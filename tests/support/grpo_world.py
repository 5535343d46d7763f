"""A database, questions about it and a random model: all that a GRPO run of seconds needs."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from support.tiny_model import QUESTIONS, SCHEMA, make_model
from text2sql.records import Example

GOLD = "SELECT name FROM shop ORDER BY name"
REWARD = '''
def letters(samples):
    """The share of letters: what a random model can learn in a few steps."""
    return [sum(c.isalpha() for c in s.completion) / max(1, len(s.completion)) for s in samples]


def fragile(samples):
    if len(samples) > 1 or "e" in samples[0].completion:
        raise ValueError("no e, please")
    return [1.0]


def broken(samples):
    raise RuntimeError("never works")


class Seen:
    """Writes down what it is given."""

    def __init__(self, path):
        self.path = path

    def score_batch(self, samples):
        import json
        with open(self.path, "a", encoding="utf-8") as out:
            for s in samples:
                out.write(json.dumps([s.prompt, s.completion, s.tokens, s.example.__dict__]) + "\\n")
        return [0.0] * len(samples)
'''


def example(i: int) -> Example:
    return Example(f"q{i}", "shop", f"{QUESTIONS[i % len(QUESTIONS)]} {i}", SCHEMA, GOLD)


def make_world(folder: Path, rows: int = 24) -> dict[str, Any]:
    """Write everything to ``folder``; returns a recipe for a run of two steps."""
    make_model(folder / "model", layers=1, hidden=64)
    make_database(folder / "db")
    write_rows(folder / "rows.jsonl", [example(i).__dict__ for i in range(rows)])
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.jsonl"}}), encoding="utf-8")
    (folder / "their_rewards.py").write_text(REWARD, encoding="utf-8")
    return recipe(folder)


def make_database(root: Path) -> None:
    """The database shop in a folder of databases."""
    database = root / "shop/shop.sqlite"
    database.parent.mkdir(parents=True)
    with sqlite3.connect(database) as connection:
        connection.executescript(SCHEMA)
        connection.executescript("INSERT INTO shop VALUES (1, 'Bon', 'Lyon'), (2, 'Ada', 'Rome');")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def recipe(folder: Path) -> dict[str, Any]:
    return {
        "model_name_or_path": str(folder / "model"),
        "stage": "grpo",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "q_proj,v_proj",
        "lora_rank": 8,
        "dataset": "rows",
        "eval_dataset": "rows",
        "dataset_dir": str(folder),
        "template": "qwen3",
        "enable_thinking": False,
        "cutoff_len": 512,
        "preprocessing_num_workers": 1,
        "output_dir": str(folder / "out"),
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 8,
        "learning_rate": 0.01,
        "reward_funcs": ["execution", "their_rewards:letters"],
        "database_root": str(folder / "db"),
        "reward_jobs": 0,
        "eval_strategy": "no",
        "use_cpu": True,
        "disable_gradient_checkpointing": True,
        "report_to": "none",
        "seed": 7,
    }
