"""Two tensor-parallel processes train the model that one does, also after a kill while they save."""

import time
from pathlib import Path

import pytest

from support.parallel_comparison import converts, same_model, same_training
from support.parallel_runs import Training
from text2sql.checkpoint.run import is_whole

pytestmark = pytest.mark.slow
STEPS, SAVE, BATCH = 20, 8, 4


def test_zero2_with_tensor_parallelism_and_a_kill_while_saving(world: Path, given: list[str], full: Path) -> None:
    keys = [*given, f"per_device_train_batch_size={BATCH}"]
    out = world / "tp"
    dying = Training("full_sft_zero2_tp", keys, out, 2)
    half = out / "checkpoint-16"
    dying.until(lambda: (half / "global_step16").exists())
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
    assert f"resuming from {out}/checkpoint-8" in again.said
    same_training(full, out, STEPS)
    same_model(full, out, world / "model")
    converts(half, full / "checkpoint-16", world)
