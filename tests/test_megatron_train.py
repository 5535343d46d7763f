"""Megatron core itself, tensor-parallel over two processes, trains what Hugging Face trains; its checkpoint comes back."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tiny_model import QUESTIONS, make_model, make_tokenizer

ROOT = Path(__file__).parents[1]
STEPS, RATE = 12, 1e-3
ANSWERS = ["SELECT count(*) FROM shop;", "SELECT name FROM shop ORDER BY name;", "SELECT sum(amount) FROM sale;"]
pytest.importorskip("megatron.core", reason="megatron-core is not installed: bash scripts/setup.sh train")
pytestmark = pytest.mark.slow


def train_with_hugging_face(base: Path, sequences: list, out: Path) -> tuple[list[float], dict]:
    """The same steps in one process: mean loss over all tokens of all sequences, AdamW, gradients clipped to norm 1."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    tokens = sum(len(ids) - 1 for ids in sequences)
    losses, gradients = [], {}
    for step in range(STEPS):
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
    return losses, gradients


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Both trainings, and the Megatron checkpoint converted by the script."""
    import torch
    from safetensors.torch import save_file

    place = tmp_path_factory.mktemp("megatron")
    base = make_model(place / "base", vocab_size=448)
    tokenizer = make_tokenizer()
    texts = [f"{question} {answer}<|im_end|>" for question, answer in zip(QUESTIONS, ANSWERS, strict=False)]
    sequences = [torch.tensor(tokenizer(text)["input_ids"]) for text in texts]
    save_file({f"{number:03d}": ids for number, ids in enumerate(sequences)}, place / "data.safetensors")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    worker = [str(ROOT / "tests/megatron_worker.py"), str(base), str(place / "data.safetensors"), str(place)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    done = subprocess.run(
        [*torchrun, *worker, str(STEPS), str(RATE)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses, gradients = train_with_hugging_face(base, sequences, place / "twin")
    keys = {
        "checkpoint": place / "checkpoint", "output_dir": place / "converted", "model_name_or_path": base,
        "reference": place / "reference.safetensors", "tolerance": 1e-4,
    }  # fmt: skip
    script = ["bash", str(ROOT / "scripts/mg2hf.sh"), "recipes/tiny/mg2hf.yaml", *(f"{k}={v}" for k, v in keys.items())]
    converted = subprocess.run(script, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert converted.returncode == 0, converted.stderr[-3000:]
    return SimpleNamespace(place=place, base=base, losses=losses, gradients=gradients, said=converted.stderr)


def test_losses_are_hugging_faces_in_every_step(runs: SimpleNamespace) -> None:
    found = json.loads((runs.place / "losses.json").read_text(encoding="utf-8"))
    assert len(found) == STEPS
    assert found == pytest.approx(runs.losses, rel=1e-5)
    assert found[-1] < 0.5 * found[0], "it learns"


def test_gradients_are_hugging_faces(runs: SimpleNamespace) -> None:
    import torch

    from text2sql.megatron.shards import merge
    from text2sql.plan import shape_of

    shape, _ = shape_of(str(runs.base))
    ranks = [torch.load(runs.place / f"gradients_{rank}.pt", weights_only=True) for rank in range(2)]
    merged = {}
    for name in ranks[0]:
        merged |= merge(name, [rank[name] for rank in ranks], shape)
    assert merged.keys() == runs.gradients.keys()
    for name, theirs in runs.gradients.items():
        difference = (merged[name] - theirs).abs().max() / theirs.abs().max()
        assert difference < 1e-5, f"{name}: {difference}"


def test_the_converted_model_is_verified_and_answers_like_its_twin(runs: SimpleNamespace) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    assert "tensors equal to the checkpoint's, bit by bit" in runs.said
    report = json.loads((runs.place / "converted/conversion.json").read_text(encoding="utf-8"))
    assert report["source"] == "Megatron checkpoint (tensor 2 x pipeline 1)"
    assert report["equal_tensors"] == 18
    assert report["logits_difference"] < 1e-4
    tokenizer = make_tokenizer()
    models = [AutoModelForCausalLM.from_pretrained(runs.place / name) for name in ("converted", "twin", "base")]
    answers = []
    for model in models:
        texts = []
        for question in QUESTIONS:
            ids = torch.tensor([tokenizer(question)["input_ids"]])
            new = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)
            texts.append(new[0].tolist())
        answers.append(texts)
    assert answers[0] == answers[1]
    assert answers[0] != answers[2], "training changed the answers"
