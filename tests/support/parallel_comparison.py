"""What two runs of the same training must have in common: losses, weights, answers, and the converted model."""

from pathlib import Path
from typing import Any

from support.loss_curves import compare_curves, read_curve
from support.tiny_model import QUESTIONS, SCHEMA
from text2sql.checkpoint.convert import Mg2hfOptions, convert


def same_training(single: Path, spread: Path, steps: int) -> None:
    """Losses alike in every one of ``steps`` steps."""
    first, worst = compare_curves(read_curve(single), read_curve(spread))
    assert first <= 1e-3
    assert worst <= 0.01
    assert list(read_curve(spread)) == list(read_curve(single))
    assert len(read_curve(spread)) == steps


def load(run: Path, base: Path) -> Any:
    """A run's model, loaded with transformers and PEFT alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if (run / "adapter_config.json").is_file():
        return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), run)
    return AutoModelForCausalLM.from_pretrained(run)


def same_model(single: Path, spread: Path, base: Path) -> None:
    """Tensors alike, and greedy answers equal."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    one, other = load(single, base), load(spread, base)
    tensors, others, untrained = one.state_dict(), other.state_dict(), load(base, base).state_dict()
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.allclose(tensor, others[name], atol=2e-3), name
    moved = [name for name, tensor in others.items() if name in untrained and not torch.equal(tensor, untrained[name])]
    assert moved or len(tensors) > len(untrained), "nothing was trained"
    for i, question in enumerate(QUESTIONS):
        messages = [{"role": "user", "content": f"{SCHEMA}\n{question} {i}"}]
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, enable_thinking=False, return_tensors="pt"
        )
        answers = [m.generate(input_ids=prompt, max_new_tokens=24, do_sample=False) for m in (one, other)]
        assert torch.equal(*answers), question


def converts(checkpoint: Path, single: Path, world: Path) -> None:
    """What ``scripts/mg2hf.sh`` makes of a checkpoint is a plain model, the one that a single process had there."""
    made = world / f"{checkpoint.parent.name}_hf"
    convert(Mg2hfOptions(checkpoint=checkpoint, output_dir=made))
    assert not list(made.glob("global_step*"))
    same_model(single, made, world / "model")
