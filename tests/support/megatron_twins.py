"""The same training twice: by Megatron core over two tensor-parallel processes, and by Hugging Face's model in one."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from text2sql.checkpoint.megatron import merge
from text2sql.checkpoint.shape import shape_of

ROOT = Path(__file__).parents[2]
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Trained:
    """Losses of every step, and the first step's gradients before clipping, by Hugging Face's names."""

    losses: list[float]
    gradients: Tensors


def train_with_megatron(base: Path, sequences: list[torch.Tensor], place: Path, steps: int, rate: float) -> Trained:
    """Leaves ``place/checkpoint`` in Megatron's layout and ``place/reference.safetensors``, the trained model's logits."""
    save_file({f"{number:05d}": ids for number, ids in enumerate(sequences)}, place / "data.safetensors")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    worker = [
        str(ROOT / "tests/support/megatron_worker.py"),
        *map(str, (base, place / "data.safetensors", place, steps, rate)),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    done = subprocess.run([*torchrun, *worker], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Megatron failed:\n{done.stderr[-3000:]}")
    shape, _ = shape_of(str(base))
    ranks = [torch.load(place / f"gradients_{rank}.pt", weights_only=True) for rank in range(2)]
    gradients: Tensors = {}
    for name in ranks[0]:
        gradients |= merge(name, [rank[name] for rank in ranks], shape)
    return Trained(json.loads((place / "losses.json").read_text(encoding="utf-8")), gradients)


def train_with_hugging_face(base: Path, sequences: list[torch.Tensor], out: Path, steps: int, rate: float) -> Trained:
    """Every step takes all sequences: mean loss over all their tokens, AdamW, gradients clipped to norm 1."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    tokens = sum(len(ids) - 1 for ids in sequences)
    losses, gradients = [], {}
    for step in range(steps):
        optimizer.zero_grad()
        total = 0.0
        for ids in sequences:
            logits = model(ids[None]).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum") / tokens
            loss.backward()
            total += loss.item()
        losses.append(total)
        if step == 0:
            gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.save_pretrained(out)
    return Trained(losses, gradients)


def differences(ours: Tensors, theirs: Tensors) -> dict[str, float]:
    """Largest absolute difference of each gradient, relative to its largest entry."""
    if ours.keys() != theirs.keys():
        raise ValueError(f"not the same parameters: {sorted(ours.keys() ^ theirs.keys())[:3]}")
    return {name: float((ours[name] - grad).abs().max() / grad.abs().max()) for name, grad in theirs.items()}


def answers(model: Path, prompts: list[list[int]]) -> list[list[int]]:
    """Greedy continuations of up to 24 tokens."""
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        new = loaded.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)
        found.append(new[0].tolist())
    return found
