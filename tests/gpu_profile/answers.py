"""Greedy answers to the same questions by a merged model, by adapter and base, and by the base alone: how often they agree.

``python answers.py BASE FOLDER QUESTIONS COUNT``: ``FOLDER/4`` and ``FOLDER/8`` are adapters trained on the base in 4 and 8 bits,
``FOLDER/4-merged`` and ``FOLDER/8-merged`` they merged. Prints shares of equal answers as JSON, by bits.
"""

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig


def main(base: str, folder: str, questions: str, count: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    with Path(questions).open(encoding="utf-8") as file:
        rows = [json.loads(line)["messages"] for line in itertools.islice(file, int(count))]
    prompts = [
        tokenizer.apply_chat_template(row[:-1], tokenize=False, add_generation_prompt=True, enable_thinking=False)
        for row in rows
    ]

    def answers(model: Any) -> list[str]:
        batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        batch.pop("token_type_ids", None)
        with torch.no_grad():
            ids = model.eval().generate(**batch, do_sample=False, max_new_tokens=48)
        found: list[str] = tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        return found

    def load(place: str, **options: Any) -> Any:
        return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **options)

    alone = answers(load(base))
    shares = {}
    for bits in (4, 8):
        adapter = f"{folder}/{bits}"
        quantized = load(base, quantization_config=_quantized(bits), device_map={"": "cpu"})
        merged = answers(load(f"{adapter}-merged"))
        others = {
            "adapter on base": answers(PeftModel.from_pretrained(load(base), adapter)),
            "adapter on quantized base": answers(PeftModel.from_pretrained(quantized, adapter)),
            "base alone": alone,
        }
        shares[bits] = {
            name: sum(a == b for a, b in zip(merged, found, strict=True)) / len(merged)
            for name, found in others.items()
        }
    sys.stdout.write(json.dumps(shares) + "\n")


def _quantized(bits: int) -> BitsAndBytesConfig:
    """As LLaMA-Factory loads the base for training, with ``double_quantization``."""
    return BitsAndBytesConfig(
        load_in_4bit=bits == 4,
        load_in_8bit=bits == 8,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
