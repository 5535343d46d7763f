"""Checks of machine, model and folders before training; each failure is one line."""

import shutil
from pathlib import Path

import pytest

from support.checkpoints import write_zero_checkpoint
from support.tiny_model import make_adapter, make_model
from text2sql.artifacts import write_note
from text2sql.errors import UserError
from text2sql.train.preflight import (
    check_adapters,
    check_attention,
    check_disk,
    check_output,
    check_resume,
    fit_device,
    model_folder,
)

ROOT = Path(__file__).parents[2]
WHERE = Path("recipes/tiny/lora_qv_sft.yaml")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=1)


def test_deepspeed_on_a_cpu_lets_go_of_use_cpu() -> None:
    recipe = {"use_cpu": True, "bf16": True, "deepspeed": "recipes/deepspeed/zero3.json"}
    fitted, note = fit_device(recipe, WHERE, gpus=0)
    assert fitted == {"use_cpu": False, "bf16": False, "deepspeed": "recipes/deepspeed/zero3.json"}
    assert "bf16=false" in note
    assert fit_device(recipe, WHERE, gpus=2) == (recipe, "")


def test_lora_under_deepspeed_needs_an_optimizer_section() -> None:
    with pytest.raises(UserError, match="optimizer"):
        fit_device({"use_cpu": True, "deepspeed": {"zero_optimization": {"stage": 3}}}, WHERE, gpus=0)


def test_flash_attention_takes_one_packed_sequence_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/test_packing.py sees what LLaMA-Factory does with more."""
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: True)
    packed = {"flash_attn": "fa2", "neat_packing": True, "per_device_train_batch_size": 1, "eval_strategy": "no"}
    check_attention(packed, WHERE)
    for change in ({"neat_packing": False}, {"flash_attn": "auto"}):
        check_attention(packed | {"per_device_train_batch_size": 4} | change, WHERE)
    with pytest.raises(UserError, match="one sequence a batch; set per_device_train_batch_size=1"):
        check_attention(packed | {"per_device_train_batch_size": 4}, WHERE)
    evaluated = packed | {"eval_strategy": "steps"}
    with pytest.raises(UserError, match="set per_device_eval_batch_size=1"):
        check_attention(evaluated, WHERE)
    check_attention(evaluated | {"per_device_eval_batch_size": 1}, WHERE)


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


def test_tensor_parallelism_on_cpus_goes_over_gloo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = {"use_cpu": True, "bf16": True, "deepspeed": "recipes/deepspeed/zero2_tp.json", "finetuning_type": "full"}
    fitted, note = fit_device(given, WHERE, 0)
    assert (fitted["ddp_backend"], fitted["bf16"], fitted["use_cpu"]) == ("gloo", True, True)
    assert "gloo" in note
    assert fit_device(fitted, WHERE, 0) == (fitted, "")


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
