"""Megatron core itself, tensor-parallel over two processes, trains what Hugging Face trains; its checkpoint comes back."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.tiny_model import QUESTIONS, make_model, make_tokenizer

ROOT = Path(__file__).parents[2]
STEPS, RATE = 12, 1e-3
ANSWERS = ["SELECT count(*) FROM shop;", "SELECT name FROM shop ORDER BY name;", "SELECT sum(amount) FROM sale;"]
pytest.importorskip("megatron.core", reason="megatron-core is not installed: bash scripts/setup.sh train")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Both trainings, and the Megatron checkpoint converted by the script."""
    import torch

    from support.megatron_twins import train_with_hugging_face, train_with_megatron

    place = tmp_path_factory.mktemp("megatron")
    base = make_model(place / "base", vocab_size=448)
    tokenizer = make_tokenizer()
    texts = [f"{question} {answer}<|im_end|>" for question, answer in zip(QUESTIONS, ANSWERS, strict=False)]
    sequences = [torch.tensor(tokenizer(text)["input_ids"]) for text in texts]
    ours = train_with_megatron(base, sequences, place, STEPS, RATE)
    theirs = train_with_hugging_face(base, sequences, place / "twin", STEPS, RATE)
    keys = {
        "checkpoint": place / "checkpoint",
        "output_dir": place / "converted",
        "model_name_or_path": base,
        "reference": place / "reference.safetensors",
        "tolerance": 1e-4,
    }
    script = ["bash", str(ROOT / "scripts/mg2hf.sh"), "recipes/tiny/mg2hf.yaml", *(f"{k}={v}" for k, v in keys.items())]
    converted = subprocess.run(script, cwd=place, env=os.environ, capture_output=True, text=True, check=False)
    assert converted.returncode == 0, converted.stderr[-3000:]
    return SimpleNamespace(place=place, ours=ours, theirs=theirs, said=converted.stderr)


def test_losses_are_hugging_faces_in_every_step(runs: SimpleNamespace) -> None:
    assert len(runs.ours.losses) == STEPS
    assert runs.ours.losses == pytest.approx(runs.theirs.losses, rel=1e-5)
    assert runs.ours.losses[-1] < 0.5 * runs.ours.losses[0], "it learns"


def test_gradients_are_hugging_faces(runs: SimpleNamespace) -> None:
    from support.megatron_twins import differences

    found = differences(runs.ours.gradients, runs.theirs.gradients)
    assert max(found.values()) < 1e-5, found


def test_the_converted_model_is_verified_and_answers_like_its_twin(runs: SimpleNamespace) -> None:
    from support.megatron_twins import answers

    assert "tensors equal to the checkpoint's, bit by bit" in runs.said
    report = json.loads((runs.place / "converted/conversion.json").read_text(encoding="utf-8"))["compared"]
    assert report["source"] == "Megatron checkpoint (tensor 2 x pipeline 1)"
    assert report["equal_tensors"] == 18
    assert report["logits_difference"] < 1e-4
    tokenizer = make_tokenizer()
    prompts = [tokenizer(question)["input_ids"] for question in QUESTIONS]
    found = {name: answers(runs.place / name, prompts) for name in ("converted", "twin", "base")}
    assert found["converted"] == found["twin"]
    assert found["converted"] != found["base"], "training changed the answers"
