"""Only checkpoints that training can go on from are whole."""

import json
from pathlib import Path

import pytest
import torch

from support.checkpoints import write_checkpoint, write_zero_checkpoint
from support.megatron_files import write_megatron
from support.tiny_model import make_model
from text2sql.checkpoint.run import is_whole


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=1)


@pytest.mark.parametrize("damage", ["state", "weights", "step", "no weights", "no state"])
def test_half_written_checkpoints_are_not_whole(damage: str, tmp_path: Path, model: Path) -> None:
    folder = write_checkpoint(tmp_path, 5, model)
    assert is_whole(folder)
    state, weights = folder / "trainer_state.json", folder / "model.safetensors"
    if damage == "state":
        state.write_text('{"global_', encoding="utf-8")
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "step":
        state.write_text('{"global_step": 4}', encoding="utf-8")
    else:
        (weights if damage == "no weights" else state).unlink()
    assert not is_whole(folder)


@pytest.mark.parametrize("damage", ["rng", "partition", "cut", "latest", "other latest", "model states"])
def test_half_written_deepspeed_checkpoints_are_not_whole(damage: str, tmp_path: Path, model: Path) -> None:
    folder = write_zero_checkpoint(tmp_path, 5, model)
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


def test_a_checkpoint_without_all_processes_is_not_resumed(tmp_path: Path) -> None:
    checkpoint = write_megatron(make_model(tmp_path / "base", vocab_size=448), tmp_path / "checkpoint-7", 2, 1)
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": 7}), encoding="utf-8")
    for name in ("training_args.bin", "rng_state_0.pth", "rng_state_1.pth"):
        torch.save({}, checkpoint / name)
    assert is_whole(checkpoint, processes=2)
    model = checkpoint / "iter_0000007/mp_rank_01/model_optim_rng.pt"
    content = model.read_bytes()
    model.write_bytes(content[: len(content) // 2])
    assert not is_whole(checkpoint, processes=2)
    model.unlink()
    (checkpoint / "mca_config.json").write_text(json.dumps({"tensor_model_parallel_size": 2}), encoding="utf-8")
    assert not is_whole(checkpoint, processes=2)
