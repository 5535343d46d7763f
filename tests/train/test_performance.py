"""The record of a training's speed and memory, with transformers' own trainer, and the page that is drawn from it."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from support.tiny_model import make_model
from text2sql.llamafactory.performance import FILE, PerformanceCallback
from text2sql.train.performance import RECORDED, write_page

ROWS = [
    {"input_ids": torch.tensor([5, 6, 7, 8 if i % 2 else 0]), "labels": torch.tensor([5, 6, 7, 8])} for i in range(64)
]


def train(folder: Path, steps: int, resume: bool = False) -> list[dict[str, Any]]:
    from transformers import AutoTokenizer, Qwen3ForCausalLM

    base = folder / "base"
    if not base.is_dir():
        make_model(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token_id = 0
    arguments = TrainingArguments(
        str(folder / "run"),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=steps,
        logging_steps=2,
        save_steps=4,
        eval_steps=2,
        eval_strategy="steps",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    callback = PerformanceCallback()
    model = Qwen3ForCausalLM.from_pretrained(base)
    Trainer(
        model, arguments, train_dataset=ROWS, eval_dataset=ROWS[:4], processing_class=tokenizer, callbacks=[callback]
    ).train(resume_from_checkpoint=resume)
    return [json.loads(line) for line in (folder / "run" / FILE).read_text(encoding="utf-8").splitlines()]


def test_rows_add_up_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    assert FILE == RECORDED
    rows = train(tmp_path, 6)
    assert [row["step"] for row in rows] == [2, 4, 6]
    for row in rows:
        # Two steps of two micro-batches of two rows of four tokens; evaluation is not counted.
        assert (row["steps"], row["tokens"]) == (2, 32)
        assert 0 <= row["padding"] <= 8  # every other row has one
        assert 0 < row["in_steps"] <= row["seconds"]
        assert row["peak_memory_mb"] >= row["memory_mb"] > 50
        assert row["gpu_memory_mb"] is None
    assert sum(row["padding"] for row in rows) > 0
    path = tmp_path / "run" / FILE
    path.write_text(path.read_text(encoding="utf-8") + '{"step": 7, "ha', encoding="utf-8")  # killed while it wrote
    again = train(tmp_path, 8, resume=True)  # from checkpoint 4 or 6
    assert [row["step"] for row in again] == [2, 4, 6, 8]
    assert again[:2] == rows[:2]
    page = write_page(tmp_path / "run")
    assert page is not None
    text = page.read_text(encoding="utf-8")
    assert "8 in" in text
    assert text.count("<svg") == 3
    assert "GPU" not in text


def test_a_page_with_gpus_and_none_without_a_record(tmp_path: Path) -> None:
    assert write_page(tmp_path) is None
    row = {"step": 5, "steps": 5, "seconds": 10.0, "in_steps": 8.0, "tokens": 8000, "padding": 800, "processes": 2}
    row |= {"memory_mb": 900.0, "peak_memory_mb": 1000.0, "gpu_memory_mb": 20000.0, "gpu_utilisation": 0.9}
    (tmp_path / RECORDED).write_text(json.dumps(row) + "\n", encoding="utf-8")
    page = write_page(tmp_path)
    assert page is not None
    text = page.read_text(encoding="utf-8")
    for words in ("1,800 of text", "10.0% of the tokens", "20,000 MB", "90%", "20.0% (evaluation"):
        assert words in text
    assert text.count("<svg") == 5
