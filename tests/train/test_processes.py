"""Several processes and machines: what cannot work is refused in one line, and only whole checkpoints are trusted."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from support.loss_curves import compare_curves, read_curve
from support.tiny_model import make_adapter, make_model
from text2sql.errors import UserError
from text2sql.llamafactory.layout import Layout
from text2sql.train.__main__ import train
from text2sql.train.launch import _reason, environment
from text2sql.train.preflight import check_adapters, check_resume, fit_device, model_folder
from text2sql.train.processes import Processes, check_port, check_processes, read_processes, wait_for_first
from text2sql.train.runs import Run, begin, is_whole, plan_run

ROOT = Path(__file__).parents[2]
WHERE = Path("recipes/tiny/full_sft_zero2_tp.yaml")
TP = json.loads((ROOT / "recipes/deepspeed/zero2_tp.json").read_text(encoding="utf-8"))
FULL = {"finetuning_type": "full", "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=1)


# --- processes and machines ----------------------------------------------------------------------------------------


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


def test_tensor_parallelism_on_cpus_goes_over_gloo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = {"use_cpu": True, "bf16": True, "deepspeed": "recipes/deepspeed/zero2_tp.json", "finetuning_type": "full"}
    fitted, note = fit_device(given, WHERE, 0)
    assert (fitted["ddp_backend"], fitted["bf16"], fitted["use_cpu"]) == ("gloo", True, True)
    assert "gloo" in note
    assert fit_device(fitted, WHERE, 0) == (fitted, "")


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


LEAVING = """
import atexit, os, sys
from text2sql.llamafactory import __main__ as stages

class Threads:
    "Gloo's, when Python takes the process apart."
    def __del__(self):
        os.abort()

kept = Threads()
atexit.register(sys.stdout.write, " closed")
stages._work = lambda: sys.stdout.write("saved")
sys.argv = ["worker", {argument!r}]
{end}
"""


@pytest.mark.parametrize(("end", "code"), [("stages.main()", 0), ("stages._work()", -signal.SIGABRT)])
def test_a_process_that_has_saved_everything_cannot_be_aborted_on_its_way_out(end: str, code: int) -> None:
    """The second way is the control: the process as Python would end it."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVING.format(argument="recipe.yaml", end=end)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr[-2000:]
    assert code or done.stdout == "saved closed"


# --- whose fault it was --------------------------------------------------------------------------------------------

SUMMARY = """train FAILED
Failures:
[0]:
  rank      : 0 (local_rank: 0)
  exitcode  : {0} (pid: 10)
Root Cause (first observed failure):
[1]:
  time      : 2026-01-01_00:00:00
  rank      : 1 (local_rank: 1)
  exitcode  : {1} (pid: 11)
"""
LOST = "[rank0]: RuntimeError: [gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:4567\n"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (LOST + SUMMARY.format(1, -9), "process 1 was killed by signal 9 (out of memory?)"),
        ("[rank1]: ValueError: of one\n" + LOST + SUMMARY.format(1, 1), "process 1: ValueError: of one"),
        (
            "[rank1]: KeyError: 'a'\n[rank1]: ValueError: of one\n[rank0]: ValueError: other\n" + SUMMARY.format(1, 1),
            "process 1: ValueError: of one",
        ),
        ("[rank1]: AssertionError\n" + LOST + SUMMARY.format(1, 1), "process 1: AssertionError"),
        ("[rank1]: ValueError: of one\n" + LOST + SUMMARY.format(-15, -6), "process 1: ValueError: of one"),
        (LOST + SUMMARY.format(-6, -9), "process 1 was killed by signal 9"),
        ("[rank0]: ValueError: in vain\n" + SUMMARY.format(1, -9), "process 1 was killed by signal 9"),
        (SUMMARY.format(-15, -6), "process 1 was killed by signal 6"),
        (SUMMARY.format(-15, -11), "process 1 was killed by signal 11"),
        (LOST + SUMMARY.format(1, 1), "its own machine shows why"),
        ("UserError: no such database\n" + LOST + SUMMARY.format(1, 2), "no such database"),
        ("torch.distributed.DistNetworkError: bind: EADDRINUSE, address in use\n", "set MASTER_PORT to a free one"),
    ],
)
def test_the_first_failing_process_is_blamed(log: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(log, encoding="utf-8")
    assert words in _reason(path, 0, 1)


# --- checkpoints of several processes ------------------------------------------------------------------------------


def checkpoint(out: Path, step: int, model: Path, processes: int = 2) -> Path:
    """A DeepSpeed checkpoint's files as the trainer leaves them."""
    folder = out / f"checkpoint-{step}"
    parts = folder / f"global_step{step}"
    parts.mkdir(parents=True)
    shutil.copy(model / "model.safetensors", folder)
    for rank in range(processes):
        torch.save({"rank": rank}, folder / f"rng_state_{rank}.pth")
        torch.save({"rank": rank}, parts / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    torch.save({}, parts / "mp_rank_00_model_states.pt")
    (folder / "latest").write_text(parts.name, encoding="utf-8")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("damage", ["rng", "partition", "cut", "latest", "other latest", "model states"])
def test_half_written_deepspeed_checkpoints_are_not_whole(damage: str, tmp_path: Path, model: Path) -> None:
    folder = checkpoint(tmp_path, 5, model)
    assert is_whole(folder, 2)
    parts = folder / "global_step5"
    last = parts / "zero_pp_rank_1_mp_rank_00_optim_states.pt"
    if damage == "rng":
        (folder / "rng_state_1.pth").unlink()
    elif damage == "partition":
        last.unlink()
    elif damage == "cut":
        last.write_bytes(last.read_bytes()[:-30])
    elif damage == "latest":
        (folder / "latest").unlink()
    elif damage == "other latest":
        (folder / "latest").write_text("global_step4", encoding="utf-8")
    else:
        (parts / "mp_rank_00_model_states.pt").write_bytes(b"")
    assert not is_whole(folder, 2)


def test_the_newest_whole_checkpoint_is_used(tmp_path: Path, model: Path) -> None:
    run = Run({"stage": "sft", "finetuning_type": "full"}, {}, "aa", processes=2)
    begin(tmp_path, run, plan_run(tmp_path, run, overwrite=False))
    first, second, third = (checkpoint(tmp_path, step, model) for step in (4, 8, 12))
    (second / "latest").unlink()
    shutil.rmtree(third / "global_step12")
    (third / "trainer_state.json").unlink()
    plan = plan_run(tmp_path, run, overwrite=False)
    assert (plan.checkpoint, plan.broken) == (first, [second, third])
    with pytest.raises(UserError, match=r"checkpoint-4 is of a run of 2 processes, this start has 1.*NPROC_PER_NODE"):
        plan_run(tmp_path, replace(run, processes=1), overwrite=False)
    assert plan_run(tmp_path, replace(run, processes=1), overwrite=True).action == "start"


# --- mixed adapters and bases --------------------------------------------------------------------------------------


def test_adapters_and_models_are_not_mixed(model: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", model)
    with pytest.raises(UserError, match="holds an adapter, not a model"):
        model_folder({"model_name_or_path": str(adapter)}, WHERE)
    with pytest.raises(UserError, match="trains no adapter; merge it first"):
        check_adapters({"finetuning_type": "full", "adapter_name_or_path": str(adapter)}, model)
    other = make_model(tmp_path / "other", layers=1, seed=5)
    (adapter / "run.json").write_text(json.dumps({"base": "of other weights"}), encoding="utf-8")
    with pytest.raises(UserError, match="was trained on other weights"):
        check_adapters({"adapter_name_or_path": str(adapter)}, other)


def test_checkpoints_of_another_kind_are_not_resumed(model: Path, tmp_path: Path) -> None:
    full = checkpoint(tmp_path / "full", 5, model)
    lora = make_adapter(tmp_path / "lora/checkpoint-5", model)
    with pytest.raises(UserError, match="no whole checkpoint"):
        check_resume({"resume_from_checkpoint": str(lora)})
    shutil.copy(full / "trainer_state.json", lora)
    check_resume({"resume_from_checkpoint": str(full), "finetuning_type": "full"})
    check_resume({"resume_from_checkpoint": str(lora)})
    for wrong, kind in ((full, "lora"), (lora, "full")):
        with pytest.raises(UserError, match=f"is not of a {kind} run"):
            check_resume({"resume_from_checkpoint": str(wrong), "finetuning_type": kind})


def test_a_full_run_does_not_go_into_an_adapters_folder(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "SELECT 1"}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.jsonl"}}), encoding="utf-8")
    out = make_adapter(tmp_path / "out", model)
    (out / "run.json").write_text(
        json.dumps({"recipe": {"stage": "sft", "finetuning_type": "lora"}, "data": {}, "base": "x"}), encoding="utf-8"
    )
    keys = f"model_name_or_path={model} dataset_dir={tmp_path} dataset=rows eval_dataset=rows output_dir={out}"
    with pytest.raises(UserError, match="holds a lora sft run, this recipe is a full sft run"):
        train(ROOT / "recipes/tiny/full_sft.yaml", keys.split())
    assert (out / "adapter_config.json").is_file()


# --- what is said and measured -------------------------------------------------------------------------------------


def test_the_layout_in_words() -> None:
    words = str(Layout(2, 2, 1, 2, "torch AdamW", 15, 16))
    assert words == (
        "layout: data 2 x tensor 2 (15 layers sharded) x pipeline 1 = 4 processes, ZeRO stage 2, optimizer torch AdamW, "
        "global batch 16 sequences"
    )
    assert "1 process, no ZeRO" in str(Layout(1, 1, 1, 0, "torch AdamW", 0, 16))


def test_curves_are_compared_step_by_step(tmp_path: Path) -> None:
    assert compare_curves({1: 2.0, 2: 1.0}, {1: 2.001, 2: 1.02}) == (pytest.approx(0.001), pytest.approx(0.02))
    with pytest.raises(UserError, match="same steps"):
        compare_curves({1: 2.0}, {1: 2.0, 2: 1.0})
    with pytest.raises(UserError, match="train first"):
        read_curve(tmp_path)
    (tmp_path / "trainer_log.jsonl").write_text('{"current_steps": 3, "loss": 0.5}\n', encoding="utf-8")
    assert read_curve(tmp_path) == {3: 0.5}


# --- Slurm ---------------------------------------------------------------------------------------------------------


def test_the_slurm_example_explains_itself_and_wants_slurm(tmp_path: Path) -> None:
    script = str(ROOT / "scripts/slurm_train.sbatch")
    done = subprocess.run(["bash", script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: sbatch")
    done = subprocess.run(
        ["bash", script, "x.yaml"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode and "submit this with sbatch" in done.stderr
