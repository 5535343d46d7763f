"""Checks of model, data and folders before training; each failure is one line."""

import shutil
from pathlib import Path

import pytest

from support.checkpoints import write_zero_checkpoint
from support.tiny_model import make_adapter, make_model
from text2sql.artifacts import write_note
from text2sql.errors import UserError
from text2sql.train.preflight import (
    check_adapters,
    check_disk,
    check_output,
    check_resume,
    check_targets,
    model_folder,
)

ROOT = Path(__file__).parents[2]
WHERE = Path("recipes/tiny/lora_qv_sft.yaml")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=1)


def test_disk_space_is_asked_for(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_disk({"finetuning_type": "full"}, tmp_path / "not" / "yet", model)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="save_total_limit"):
        check_disk({"finetuning_type": "full"}, tmp_path, model)


def test_output_may_not_hold_what_is_needed(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UserError, match="folder of its own"):
        check_output({"output_dir": str(model.parent)}, WHERE, model)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        check_output({"output_dir": str(tmp_path / "file")}, WHERE, model)


def test_adapters_and_models_are_not_mixed(model: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", model)
    with pytest.raises(UserError, match="holds an adapter, not a model"):
        model_folder({"model_name_or_path": str(adapter)}, WHERE)
    with pytest.raises(UserError, match="trains no adapter; merge it first"):
        check_adapters({"finetuning_type": "full", "adapter_name_or_path": str(adapter)}, model)
    other = make_model(tmp_path / "other", layers=1, seed=5)
    write_note(adapter / "run.json", {"base": "of other weights"})
    with pytest.raises(UserError, match="was trained on another model"):
        check_adapters({"adapter_name_or_path": str(adapter)}, other)


def test_checkpoints_of_another_kind_are_not_resumed(model: Path, tmp_path: Path) -> None:
    full = write_zero_checkpoint(tmp_path / "full", 5, model)
    lora = make_adapter(tmp_path / "lora/checkpoint-5", model)
    with pytest.raises(UserError, match="no whole checkpoint"):
        check_resume({"resume_from_checkpoint": str(lora)})
    shutil.copy(full / "trainer_state.json", lora)
    check_resume({"resume_from_checkpoint": str(full), "finetuning_type": "full"})
    check_resume({"resume_from_checkpoint": str(lora)})
    for wrong, kind in ((full, "lora"), (lora, "full")):
        with pytest.raises(UserError, match=f"is not of a {kind} run"):
            check_resume({"resume_from_checkpoint": str(wrong), "finetuning_type": kind})


def test_layers_to_adapt_are_those_of_the_model(model: Path) -> None:
    for right in ("all", "q_proj,v_proj", ["self_attn.q_proj", "down_proj"], "embed_tokens"):
        check_targets({"lora_target": right}, WHERE, model)
    check_targets({"lora_target": "qq_proj", "finetuning_type": "full"}, WHERE, model)
    check_targets({"lora_target": "qq_proj"}, WHERE, None)
    with pytest.raises(UserError, match=r"lora_target 'qq_proj': .* has no such layer; did you mean 'q_proj'\?"):
        check_targets({"lora_target": "q_proj,qq_proj"}, WHERE, model)
    with pytest.raises(UserError, match=r"lora_target 'router': .* it has .*down_proj.*q_proj"):
        check_targets({"lora_target": "router"}, WHERE, model)
