"""Several processes and machines: what cannot work is refused in one line."""

import json
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.loss_curves import compare_curves, read_curve
from support.tiny_model import make_model
from text2sql.errors import UserError
from text2sql.train.launch import environment
from text2sql.train.processes import Processes, check_port, check_processes, read_processes, wait_for_first

ROOT = Path(__file__).parents[2]
WHERE = Path("recipes/tiny/full_sft_zero2_tp.yaml")
TP = json.loads((ROOT / "recipes/deepspeed/zero2_tp.json").read_text(encoding="utf-8"))
FULL = {"finetuning_type": "full", "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=1)


def test_what_torchrun_is_told() -> None:
    assert read_processes(4, {}) == Processes(4)
    several = {"NPROC_PER_NODE": "8", "NNODES": "3", "NODE_RANK": "2", "MASTER_ADDR": "node0", "MASTER_PORT": "1234"}
    found = read_processes(8, several)
    assert (found, found.total) == (Processes(8, 3, 2, "node0", 1234), 24)
    assert environment({"use_cpu": True}, 0, {}, TP)["NPROC_PER_NODE"] == "2", "as many as share a layer"
    assert environment({"use_cpu": True}, 0, {"NPROC_PER_NODE": "4"}, TP)["DS_ACCELERATOR"] == "cpu"
    assert environment({}, 4, {"NNODES": "2"})["MASTER_PORT"] == "29500", "the same on all machines"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"NPROC_PER_NODE": "two"}, "NPROC_PER_NODE=two"),
        ({"NPROC_PER_NODE": "0"}, "NPROC_PER_NODE=0"),
        ({"NNODES": "2", "MASTER_ADDR": "a"}, "needs NODE_RANK"),
        ({"NNODES": "2", "NODE_RANK": "0"}, "needs MASTER_ADDR"),
        ({"NNODES": "2", "NODE_RANK": "2", "MASTER_ADDR": "a"}, "from 0 to 1"),
        ({"NODE_RANK": "1"}, "from 0 to 0"),
        ({"MASTER_PORT": "70000"}, "65535"),
    ],
)
def test_wrong_machines_end_in_one_line(given: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        read_processes(1, given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("processes", [1, 3, 5])
def test_processes_that_cannot_share_layers_are_refused(processes: int, model: Path) -> None:
    with pytest.raises(UserError, match=rf"needs 2, 4, 6 .* is {processes}$"):
        check_processes(FULL, TP, WHERE, model, Processes(processes), 0)
    check_processes(FULL, TP, WHERE, model, Processes(processes, nodes=2), 0)


def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(UserError, match="NPROC_PER_NODE=4: this machine has 2 GPUs"):
        check_processes(FULL, {}, WHERE, None, Processes(4), 2)
    check_processes(FULL | {"use_cpu": True}, {}, WHERE, None, Processes(4), 2)
    check_processes(FULL, {}, WHERE, None, Processes(2), 2)


def test_tensor_parallelism_that_would_not_work_is_refused(model: Path, tmp_path: Path) -> None:
    def refused(words: str, recipe: dict, settings: dict, base: Path = model, processes: int = 2) -> None:
        with pytest.raises(UserError, match=words) as caught:
            check_processes(recipe, settings, WHERE, base, Processes(processes), 0)
        assert "\n" not in str(caught.value)

    refused("finetuning_type: full", {}, TP)
    refused("ZeRO stages up to 2", FULL, TP | {"zero_optimization": {"stage": 3}})
    refused("gather_16bit_weights_on_model_save", FULL, TP | {"zero_optimization": {"stage": 2}})
    refused(
        "has 2 key-value heads, too few for 4 processes",
        FULL,
        TP | {"tensor_parallel": {"autotp_size": 4}},
        processes=4,
    )
    check_processes(FULL, TP, WHERE, model, Processes(2), 0)


def test_old_deepspeed_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("text2sql.train.processes.version", lambda _: "0.18.4")
    with pytest.raises(UserError, match=r"DeepSpeed 0\.18\.4 computes wrong gradients"):
        check_processes(FULL, TP, WHERE, model, Processes(2), 0)


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [("train_micro_batch_size_per_gpu", 2, 4), ("gradient_accumulation_steps", 3, 1), ("train_batch_size", 24, 15)],
)
def test_batches_that_disagree_are_refused(key: str, right: int, wrong: int, model: Path) -> None:
    check_processes(FULL, TP | {key: right}, WHERE, model, Processes(8), 0)
    with pytest.raises(UserError, match=rf'{key} is {wrong} in the DeepSpeed settings.* is {right}; write "auto"'):
        check_processes(FULL, TP | {key: wrong}, WHERE, model, Processes(8), 0)


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"MASTER_PORT={port}: .* set MASTER_PORT to a free one, or leave it out"):
            check_port(Processes(2, port=port))
        with pytest.raises(UserError, match="on every machine"):
            check_port(Processes(2, 2, 0, "127.0.0.1", port))
        check_port(Processes(2, 2, 1, "127.0.0.1", port))
        check_port(Processes(2))
    check_port(Processes(2, port=port))


def test_other_machines_wait_for_the_first() -> None:
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        processes = Processes(1, 2, 1, "127.0.0.1", first.getsockname()[1])
        with pytest.raises(UserError, match=r"machine 0 did not answer at 127\.0\.0\.1"):
            wait_for_first(processes, patience=0.1)
        threading.Timer(0.7, first.listen).start()
        started = time.monotonic()
        wait_for_first(processes, patience=20)
        assert time.monotonic() - started > 0.6


def test_curves_are_compared_step_by_step(tmp_path: Path) -> None:
    assert compare_curves({1: 2.0, 2: 1.0}, {1: 2.001, 2: 1.02}) == (pytest.approx(0.001), pytest.approx(0.02))
    with pytest.raises(UserError, match="same steps"):
        compare_curves({1: 2.0}, {1: 2.0, 2: 1.0})
    with pytest.raises(UserError, match="train first"):
        read_curve(tmp_path)
    (tmp_path / "trainer_log.jsonl").write_text('{"current_steps": 3, "loss": 0.5}\n', encoding="utf-8")
    assert read_curve(tmp_path) == {3: 0.5}


def test_the_slurm_example_explains_itself_and_wants_slurm(tmp_path: Path) -> None:
    script = str(ROOT / "scripts/slurm_train.sbatch")
    done = subprocess.run(["bash", script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: sbatch")
    done = subprocess.run(
        ["bash", script, "x.yaml"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode and "submit this with sbatch" in done.stderr
