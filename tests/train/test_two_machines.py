"""Two machines, which are one here, train by the Slurm example as a single process does."""

import os
from pathlib import Path

import pytest

from support.loss_curves import read_curve
from support.parallel_runs import ROOT, SlurmTraining

pytestmark = pytest.mark.slow
STEPS, SAVE, BATCH = 4, 4, 4


STAND_IN = """#!/usr/bin/env bash
# Slurm's {name} for two machines that are one.
{body}
"""


def test_two_machines_by_the_slurm_example(world: Path, given: list[str], full: Path, tmp_path: Path) -> None:
    launch = 'shift; for node in 0 1; do SLURM_NODEID=$node "$@" & pids+=($!); done; for pid in "${pids[@]}"; do wait "$pid"; done'
    for name, body in {"scontrol": "echo 127.0.0.1", "srun": f"set -e; {launch}"}.items():
        (tmp_path / name).write_text(STAND_IN.format(name=name, body=body), encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    keys = [*given, f"per_device_train_batch_size={BATCH // 2}"]
    slurm = {"SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_NODELIST": "a,b", "SLURM_JOB_NUM_NODES": "2"}
    slurm |= {"SLURM_JOB_ID": str(os.getpid()), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    spread = SlurmTraining("full_sft", keys, tmp_path / "out", 1, **slurm).finish()
    assert "waiting for machine 0 at 127.0.0.1:" in spread.said
    assert "layout: data 2 x tensor 1 x pipeline 1 = 2 processes, no ZeRO" in spread.said
    assert read_curve(spread.out)[1] == pytest.approx(read_curve(full)[1], abs=1e-3)
    assert (spread.out / "train.1.log").is_file()
