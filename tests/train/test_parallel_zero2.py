"""Two processes with ZeRO-2 train the model that one does, also after one of them was killed."""

import os
import signal
import time
from pathlib import Path

import pytest

from support.parallel_comparison import converts, same_model, same_training
from support.parallel_runs import Training

pytestmark = pytest.mark.slow
STEPS, SAVE, BATCH = 20, 8, 4


def test_zero2_full_and_a_killed_process(world: Path, given: list[str], full: Path) -> None:
    keys = [*given, f"per_device_train_batch_size={BATCH // 2}", "deepspeed=recipes/deepspeed/zero2.json"]
    losing = Training("full_sft", keys, world / "zero2", 2)
    losing.until_step(11)
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
    assert f"resuming from {world}/zero2/checkpoint-8" in again.said
    same_training(full, again.out, STEPS)
    same_model(full, again.out, world / "model")
    converts(again.out / "checkpoint-16", full / "checkpoint-16", world)
