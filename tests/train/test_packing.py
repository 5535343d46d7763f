"""Packed examples do not see each other: through LLaMA-Factory's own packing and collator, as training packs them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from support.tiny_model import make_model

CUTOFF = 192


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=2, hidden=64)


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine conversations of different lengths: two to five fit into a packed sequence."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for number in range(9):
        columns = ", ".join(f"c{number}_{i} TEXT" for i in range(1 + number % 4))
        asked = f"[SCHEMA]\nCREATE TABLE t{number} ({columns});\n\n[QUESTION]\nHow many rows has t{number}?"
        answer = f"SELECT count(*) FROM t{number}"
        rows.append({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    info = {"file_name": "rows.jsonl", "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
    (folder / "dataset_info.json").write_text(json.dumps({"rows": info}), encoding="utf-8")
    return folder


def tokenized(model: Path, data: Path, out: Path, attention: str = "sdpa", **keys: Any) -> tuple[list[dict], Any]:
    """LLaMA-Factory's tokenized data set, and its own collator for an implementation of attention."""
    from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    recipe = {
        "model_name_or_path": str(model),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "dataset": "rows",
        "dataset_dir": str(data),
        "template": "qwen3",
        "enable_thinking": False,
        "cutoff_len": CUTOFF,
        "output_dir": str(out),
        "use_cpu": True,
        "overwrite_cache": True,
        "flash_attn": "sdpa",
        "report_to": "none",
        **keys,
    }
    model_args, data_args, training_args, _, _ = get_train_args(recipe)
    tokenizer_module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(tokenizer_module["tokenizer"], data_args)
    dataset = get_dataset(template, model_args, data_args, training_args, stage="sft", **tokenizer_module)[
        "train_dataset"
    ]
    network = AutoModelForCausalLM.from_pretrained(model, attn_implementation="sdpa")
    collator = SFTDataCollatorWith4DAttentionMask(
        template=template,
        model=network,
        pad_to_multiple_of=8,
        block_diag_attn=model_args.block_diag_attn,
        neat_packing=data_args.neat_packing,
        attn_implementation=attention,
        compute_dtype=torch.float32,
        **tokenizer_module,
    )
    return [dict(dataset[i]) for i in range(len(dataset))], collator


def batches(model: Path, data: Path, out: Path, **keys: Any) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """The data set, and all of it as one batch."""
    rows, collator = tokenized(model, data, out, **keys)
    return rows, collator(rows)


def logits_of(model: Path, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    network = AutoModelForCausalLM.from_pretrained(model, attn_implementation="sdpa", dtype=torch.float32).eval()
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask", "position_ids") if key in batch}
    with torch.no_grad():
        return network(**inputs).logits


def pieces(batch: dict[str, torch.Tensor]) -> list[tuple[int, int, int]]:
    """Row, start and end of every packed example: where positions begin again at 0 and the text is no padding."""
    found = []
    for row, positions in enumerate(batch["position_ids"].tolist()):
        starts = [i for i, position in enumerate(positions) if position == 0]
        ends = [*starts[1:], len(positions)]
        found += [(row, a, b) for a, b in zip(starts, ends, strict=True) if (batch["labels"][row, a:b] != -100).any()]
    return found


def difference(model: Path, batch: dict[str, torch.Tensor]) -> tuple[float, int]:
    """Largest difference between an example's logits in the packed batch and alone, and how many were compared."""
    packed = logits_of(model, batch)
    worst, compared = 0.0, pieces(batch)
    for row, start, end in compared:
        alone = logits_of(model, {"input_ids": batch["input_ids"][row : row + 1, start:end]})[0]
        worst = max(worst, (packed[row, start:end] - alone).abs().max().item())
    return worst, len(compared)


def test_packed_examples_compute_what_they_compute_alone(
    model_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    rows, batch = batches(model_folder, conversations, tmp_path, neat_packing=True)
    worst, compared = difference(model_folder, batch)
    assert compared == 9, "every conversation is in the batch"
    assert len(rows) < 9, "and some share a sequence"
    assert worst < 1e-4


def test_plain_packing_lets_examples_see_each_other(model_folder: Path, conversations: Path, tmp_path: Path) -> None:
    """The control: what the recipes avoid, seen by the same comparison."""
    _, batch = batches(model_folder, conversations, tmp_path, packing=True)
    worst, compared = difference(model_folder, batch)
    assert compared == 9
    assert worst > 1e-2


def test_packing_changes_neither_tokens_nor_loss(model_folder: Path, conversations: Path, tmp_path: Path) -> None:
    """The same answers are learned from, and the loss a token is that of the examples one by one."""
    _, packed = batches(model_folder, conversations, tmp_path, neat_packing=True)
    _, padded = batches(model_folder, conversations, tmp_path)
    losses = {}
    for name, batch in (("packed", packed), ("padded", padded)):
        logits, labels = logits_of(model_folder, batch)[:, :-1], batch["labels"][:, 1:]
        losses[name] = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=-100
        ).item()
    assert (packed["labels"] != -100).sum() == (padded["labels"] != -100).sum()
    assert losses["packed"] == pytest.approx(losses["padded"], abs=1e-5)


def test_for_flash_attention_a_batch_is_one_packed_sequence(
    model_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    """Its kernel finds the examples by their positions; that several sequences are refused is why the preflight does so."""
    rows, collator = tokenized(model_folder, conversations, tmp_path, "flash_attention_2", neat_packing=True)
    batch = collator([dict(rows[0])])
    assert batch["attention_mask"] is None
    assert batch["position_ids"].shape == batch["input_ids"].shape
    assert (batch["position_ids"] == 0).sum() == len(pieces(batch)) > 1
    with pytest.raises(AssertionError, match="bsz should be 1"):
        collator([dict(row) for row in rows[:2]])
