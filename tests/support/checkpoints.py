"""Files of training checkpoints, as the trainer leaves them."""

import json
import shutil
from pathlib import Path

import torch


def write_checkpoint(out: Path, step: int, model: Path) -> Path:
    """A checkpoint of one process: weights and the trainer's state."""
    folder = out / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    shutil.copy(model / "model.safetensors", folder)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}), encoding="utf-8")
    return folder


def write_zero_checkpoint(out: Path, step: int, model: Path, processes: int = 2) -> Path:
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
