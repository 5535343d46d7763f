"""Two processes train what one does: ZeRO-3 LoRA, ZeRO-2 full, ZeRO-2 + AutoTP=2 full, each interrupted in another way.

Every run goes through the script that users start. An interrupted one is started again by the same command; its losses
are then those of fifty steps in one process, and so is its model.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from support.loss_curves import compare_curves, read_curve
from support.parallel_runs import ROOT, SlurmTraining, Training, make_world
from support.tiny_model import QUESTIONS, SCHEMA
from text2sql.checkpoint.convert import Mg2hfOptions, convert
from text2sql.train.runs import is_whole

pytestmark = pytest.mark.slow
STEPS, SAVE, BATCH = 50, 20, 4


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parallel")


@pytest.fixture(scope="module")
def given(world: Path) -> list[str]:
    return make_world(world, STEPS, SAVE)


@pytest.fixture(scope="module")
def full(world: Path, given: list[str]) -> Path:
    return Training("full_sft", [*given, f"per_device_train_batch_size={BATCH}"], world / "full", 1).finish().out


@pytest.fixture(scope="module")
def lora(world: Path, given: list[str]) -> Path:
    return Training("lora_qv_sft", [*given, f"per_device_train_batch_size={BATCH}"], world / "lora", 1).finish().out


def same_training(single: Path, spread: Path) -> None:
    first, worst = compare_curves(read_curve(single), read_curve(spread))
    assert first <= 1e-3
    assert worst <= 0.01
    assert list(read_curve(spread)) == list(range(1, STEPS + 1))


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
    assert f"resuming from {world}/zero3/checkpoint-20" in again.said
    same_training(lora, again.out)
    same_model(lora, again.out, world / "model")
    partitions_are_the_adapter(again.out / "checkpoint-40")


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
        if self.state.global_step == 24:
            raise LoneError("of this process alone")
        return right(self, *arguments, **named)

    trainer.training_step = wrong

if os.environ.get("RANK") == "1":
    threading.Thread(target=spoil, daemon=True).start()
"""


def converts(checkpoint: Path, single: Path, world: Path) -> None:
    """What ``scripts/mg2hf.sh`` makes of a checkpoint is a plain model, the one that a single process had there."""
    made = world / f"{checkpoint.parent.name}_hf"
    convert(Mg2hfOptions(checkpoint=checkpoint, output_dir=made))
    assert not list(made.glob("global_step*"))
    same_model(single, made, world / "model")


def test_zero2_full_and_a_killed_process(world: Path, given: list[str], full: Path) -> None:
    keys = [*given, f"per_device_train_batch_size={BATCH // 2}", "deepspeed=recipes/deepspeed/zero2.json"]
    losing = Training("full_sft", keys, world / "zero2", 2)
    losing.until_step(24)
    os.kill(losing.rank(1), signal.SIGKILL)
    started = time.monotonic()
    assert losing.wait() == 2, losing.said[-3000:]
    assert time.monotonic() - started < 60, "the others must not wait for it"
    assert not losing.descendants()
    assert "process 1 was killed by signal 9" in losing.last_line
    assert "data 2 x tensor 1 x pipeline 1 = 2 processes, ZeRO stage 2, optimizer torch AdamW" in losing.said

    wrong = Training("full_sft", keys, world / "zero2", 1)
    assert wrong.wait() == 2
    assert "of a run of 2 processes, this start has 1" in wrong.last_line
    again = Training("full_sft", keys, world / "zero2", 2).finish()
    assert f"resuming from {world}/zero2/checkpoint-20" in again.said
    same_training(full, again.out)
    same_model(full, again.out, world / "model")
    converts(again.out / "checkpoint-40", full / "checkpoint-40", world)


def test_zero2_with_tensor_parallelism_and_a_kill_while_saving(world: Path, given: list[str], full: Path) -> None:
    keys = [*given, f"per_device_train_batch_size={BATCH}"]
    out = world / "tp"
    dying = Training("full_sft_zero2_tp", keys, out, 2)
    half = out / "checkpoint-40"
    dying.until(lambda: (half / "global_step40").exists())
    workers = [dying.rank(0), dying.rank(1)]
    dying.kill_everything()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/cwd").exists() for pid in workers):  # the kernel takes a moment to clear them away
        assert time.monotonic() < deadline, "a process trains on"
        time.sleep(0.1)
    (half / "trainer_state.json").unlink(missing_ok=True)  # where the kill came too late: it is written last
    assert not is_whole(half, 2)
    assert (
        "data 1 x tensor 2 (14 layers sharded) x pipeline 1 = 2 processes, ZeRO stage 2, optimizer torch AdamW"
        in dying.said
    )
    assert f"global batch {BATCH} sequences" in dying.said

    again = Training("full_sft_zero2_tp", keys, out, 2).finish()
    assert f"{half} was never finished; leaving it out" in again.said
    assert f"resuming from {out}/checkpoint-20" in again.said
    same_training(full, out)
    same_model(full, out, world / "model")
    converts(half, full / "checkpoint-40", world)


STAND_IN = """#!/usr/bin/env bash
# Slurm's {name} for two machines that are one.
{body}
"""


def test_two_machines_by_the_slurm_example(world: Path, given: list[str], full: Path, tmp_path: Path) -> None:
    launch = 'shift; for node in 0 1; do SLURM_NODEID=$node "$@" & pids+=($!); done; for pid in "${pids[@]}"; do wait "$pid"; done'
    for name, body in {"scontrol": "echo 127.0.0.1", "srun": f"set -e; {launch}"}.items():
        (tmp_path / name).write_text(STAND_IN.format(name=name, body=body), encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    keys = [key for key in given if not key.startswith(("max_steps", "save_steps"))]
    keys += ["max_steps=4", "save_steps=4", f"per_device_train_batch_size={BATCH // 2}"]
    slurm = {"SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_NODELIST": "a,b", "SLURM_JOB_NUM_NODES": "2"}
    slurm |= {"SLURM_JOB_ID": str(os.getpid()), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    spread = SlurmTraining("full_sft", keys, tmp_path / "out", 1, **slurm).finish()
    assert "waiting for machine 0 at 127.0.0.1:" in spread.said
    assert "layout: data 2 x tensor 1 x pipeline 1 = 2 processes, no ZeRO" in spread.said
    assert read_curve(spread.out)[1] == pytest.approx(read_curve(full)[1], abs=1e-3)
    assert (spread.out / "train.1.log").is_file()
