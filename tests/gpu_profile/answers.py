"""Greedy answers of four models to the same questions, and how often those of a merged one are those of the others.

``python answers.py BASE ADAPTER MERGED BITS QUESTIONS COUNT`` prints shares as JSON.
"""

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig


def main(base: str, adapter: str, merged: str, bits: str, questions: str, count: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    with Path(questions).open(encoding="utf-8") as file:
        rows = [json.loads(line)["messages"] for line in itertools.islice(file, int(count))]
    prompts = [
        tokenizer.apply_chat_template(row[:-1], tokenize=False, add_generation_prompt=True, enable_thinking=False)
        for row in rows
    ]

    def answers(model: Any) -> list[str]:
        found = []
        for start in range(0, len(prompts), 25):
            batch = tokenizer(prompts[start : start + 25], return_tensors="pt", padding=True, add_special_tokens=False)
            batch.pop("token_type_ids", None)
            with torch.no_grad():
                ids = model.eval().generate(**batch, do_sample=False, max_new_tokens=48)
            found += tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        return found

    def load(folder: str, **options: Any) -> Any:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)

    quantized = BitsAndBytesConfig(
        load_in_4bit=bits == "4",
        load_in_8bit=bits == "8",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    expected = answers(load(merged))
    others = {
        "adapter on base": PeftModel.from_pretrained(load(base), adapter),
        "adapter on quantized base": PeftModel.from_pretrained(
            load(base, quantization_config=quantized, device_map={"": "cpu"}), adapter
        ),
        "base alone": load(base),
    }
    shares = {"with semicolon": sum(answer.endswith(";") for answer in expected) / len(expected)}
    for name, model in others.items():
        same = sum(a == b for a, b in zip(expected, answers(model), strict=True))
        shares[name] = same / len(expected)
    sys.stdout.write(json.dumps(shares) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
