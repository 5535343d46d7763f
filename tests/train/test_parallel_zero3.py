"""Two processes with ZeRO-3 train the LoRA adapter that one does, also after an exception in one of them."""

import os
from pathlib import Path

import pytest

from support.parallel_comparison import same_model, same_training
from support.parallel_runs import Training

pytestmark = pytest.mark.slow
STEPS, SAVE, BATCH = 20, 8, 4


@pytest.fixture(scope="module")
def lora(world: Path, given: list[str]) -> Path:
    return Training("lora_qv_sft", [*given, f"per_device_train_batch_size={BATCH}"], world / "lora", 1).finish().out


def partitions_are_the_adapter(checkpoint: Path) -> None:
    """DeepSpeed's own converter finds the same float32 weights in its partitions that lie there for PEFT."""
    import torch
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    from safetensors.torch import load_file

    found = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint))
    saved = load_file(next(checkpoint.glob("*.safetensors")))
    trained = {name.replace(".default.", "."): tensor for name, tensor in found.items()}
    assert saved.keys() <= trained.keys()
    for name, tensor in saved.items():
        assert torch.allclose(tensor, trained[name], atol=1e-6), name


FAULT = """
import os, sys, threading, time

class LoneError(Exception):
    pass

def spoil():
    while not hasattr(sys.modules.get("transformers.trainer"), "Trainer"):
        time.sleep(0.01)
    trainer = sys.modules["transformers.trainer"].Trainer
    right = trainer.training_step

    def wrong(self, *arguments, **named):
        if self.state.global_step == 11:
            raise LoneError("of this process alone")
        return right(self, *arguments, **named)

    trainer.training_step = wrong

if os.environ.get("RANK") == "1":
    threading.Thread(target=spoil, daemon=True).start()
"""


def test_zero3_lora_and_an_exception_in_one_process(world: Path, given: list[str], lora: Path) -> None:
    keys = [*given, f"per_device_train_batch_size={BATCH // 2}", "deepspeed=recipes/deepspeed/zero3.json"]
    (world / "sitecustomize.py").write_text(FAULT, encoding="utf-8")
    path = os.pathsep.join([str(world), os.environ.get("PYTHONPATH", "")])
    failing = Training("lora_qv_sft", keys, world / "zero3", 2, PYTHONPATH=path)
    assert failing.wait() == 2, failing.said[-3000:]
    assert "error: " in failing.last_line
    assert "process 1: LoneError: of this process alone" in failing.last_line
    assert "layout: data 2 x tensor 1 x pipeline 1 = 2 processes, ZeRO stage 3, optimizer torch AdamW" in failing.said
    assert f"global batch {BATCH} sequences" in failing.said

    again = Training("lora_qv_sft", keys, world / "zero3", 2).finish()
    assert f"resuming from {world}/zero3/checkpoint-8" in again.said
    same_training(lora, again.out, STEPS)
    same_model(lora, again.out, world / "model")
    partitions_are_the_adapter(again.out / "checkpoint-16")
