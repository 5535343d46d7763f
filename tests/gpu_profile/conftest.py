"""What the check of the environment for GPUs sets up; scripts/check_gpu_environment.sh runs it, the ordinary tests do not."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from profile_recipes import ROOT, SHARED

QUESTIONS = [
    ("How many {}?", "SELECT count(*) FROM {}"),
    ("List {}.", "SELECT name FROM {}"),
    ("Last {}?", "SELECT max(id) FROM {}"),
    ("First {}?", "SELECT min(id) FROM {}"),
    ("All of {}.", "SELECT * FROM {}"),
]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base in float32: triton's interpreter computes rope and SwiGLU wrongly in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, source = tmp_path_factory.mktemp("base"), ROOT / "models/tiny-base"
    AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose ``spider_train`` are 40 conversations short enough for an interpreter, and new to the tiny base."""
    folder = tmp_path_factory.mktemp("rows")
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(40):
            name = ("shop", "actor", "river", "planet", "engine", "recipe", "flight", "museum")[number % 8]
            asked, answer = QUESTIONS[number // 8]
            turns = [
                {"role": "user", "content": asked.format(name)},
                {"role": "assistant", "content": answer.format(name)},
            ]
            file.write(json.dumps({"messages": turns}) + "\n")
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    entry = {"file_name": "rows.jsonl", "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
    (folder / "dataset_info.json").write_text(json.dumps({"spider_train": entry}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A prepared source and its folder: Spider where the shared data sets are, else the toy world."""
    name = "spider" if (SHARED / "spider/train_spider.json").is_file() else "toy"
    return name, prepare(name, tmp_path_factory.mktemp("prepared") / name)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared toy world."""
    return prepare("toy", tmp_path_factory.mktemp("prepared") / "toy")


def prepare(name: str, folder: Path) -> Path:
    """Prepared data in ``folder``, which as ``dataset_dir`` also knows the rows for GRPO, as data/dataset_info.json does."""
    script = ["bash", "scripts/prepare_data.sh", f"recipes/data/{name}.yaml", f"output={folder}"]
    done = subprocess.run(
        script, cwd=ROOT, env=os.environ | {"TEXT2SQL_SHARED": str(SHARED)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    described = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    described[f"{name}_train_grpo"] = {"file_name": "examples/train.jsonl", "formatting": "text2sql"}
    (folder / "dataset_info.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def qwen_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Qwen's byte-pair vocabulary as a tokenizer folder with the turn markers of its chats; None where it is not there."""
    source = SHARED / "tokenizer_qwen"
    if not (source / "vocab.json").is_file():
        return None
    from transformers import Qwen2TokenizerFast

    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = Qwen2TokenizerFast(str(source / "vocab.json"), str(source / "merges.txt"), pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.save_pretrained(folder)
    return folder
