"""A recipe against the machine it is started on; each failure is one line."""

from pathlib import Path
from typing import Any

import pytest

from text2sql.errors import UserError
from text2sql.plan.estimate import Estimate, estimate
from text2sql.recipe import load_recipe
from text2sql.train import machine
from text2sql.train.machine import check_attention, check_memory, driver_cuda, fit_device

ROOT = Path(__file__).parents[2]
WHERE = Path("recipes/tiny/lora_qv_sft.yaml")
LARGE = Path("recipes/qwen3_1p7b/lora_all_sft.yaml")


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


def test_tensor_parallelism_on_cpus_goes_over_gloo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = {"use_cpu": True, "bf16": True, "deepspeed": "recipes/deepspeed/zero2_tp.json", "finetuning_type": "full"}
    fitted, note = fit_device(given, WHERE, 0)
    assert (fitted["ddp_backend"], fitted["bf16"], fitted["use_cpu"]) == ("gloo", True, True)
    assert "gloo" in note
    assert fit_device(fitted, WHERE, 0) == (fitted, "")


@pytest.mark.parametrize(
    ("oldest", "words"), [((7, 5), "here is 7.5"), ((6, 1), "here is 6.1"), ((8, 0), ""), ((9, 0), "")]
)
def test_gpus_too_old_for_bfloat16_are_refused(
    oldest: tuple[int, int], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "gpu_capability", lambda: oldest)
    assert fit_device({"fp16": True}, WHERE, gpus=2) == ({"fp16": True}, "")
    for key in ("bf16", "pure_bf16"):
        if words:
            with pytest.raises(UserError, match=f"{key}: true needs GPUs of .*{words}; set {key}=false fp16=true$"):
                fit_device({key: True}, WHERE, gpus=2)
        else:
            assert fit_device({key: True}, WHERE, gpus=2) == ({key: True}, "")


NVIDIA_SMI = """#!/bin/sh
echo '+-----------------------------------------------------------------------------+'
echo '| NVIDIA-SMI 470.82.01    Driver Version: 470.82.01    CUDA Version: {}     |'
"""


@pytest.mark.parametrize(
    ("driver", "build", "words"),
    [
        ("11.4", "12.8", r"driver knows CUDA 11\.4, and this torch is built for 12\.8; update the NVIDIA driver"),
        ("12.2", "12.8", "sees none here; check nvidia-smi and CUDA_VISIBLE_DEVICES"),
        ("12.8", None, r"built for CPUs; run `TEXT2SQL_DEVICE=cuda bash scripts/setup.sh train`"),
        (None, "12.8", r"take its twin in recipes/tiny, or check nvidia-smi"),
    ],
)
def test_why_torch_sees_no_gpu(
    driver: str | None, build: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(machine, "cuda_build", lambda: build)
    if driver:
        (tmp_path / "nvidia-smi").write_text(NVIDIA_SMI.format(driver), encoding="utf-8")
        (tmp_path / "nvidia-smi").chmod(0o755)
    assert driver_cuda() == driver
    with pytest.raises(UserError, match=words) as caught:
        fit_device({"bf16": True}, WHERE, gpus=0)
    assert "\n" not in str(caught.value)


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Estimate, dict[str, Any]]:
    """LoRA on all layers with four sequences an evaluation: 19 GB."""
    monkeypatch.chdir(ROOT)
    keys = ["per_device_eval_batch_size=4", "model_name_or_path=models/Qwen3-1.7B", f"dataset_dir={tmp_path}"]
    recipe = load_recipe(LARGE, keys)
    return estimate(recipe, LARGE, 1), recipe


def test_gpus_that_are_too_small_are_refused(
    planned: tuple[Estimate, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, recipe = planned
    monkeypatch.setattr(machine, "gpu_memory", lambda: 24e9)
    check_memory(result, recipe, LARGE, 1)
    for size, words in (
        (
            12e9,
            r"about 19 GB a GPU \(at the evaluation\), which have 12; set per_device_eval_batch_size=1 \(text2sql plan",
        ),
        (2e9, "which have 2; more or larger GPUs are needed"),
    ):
        monkeypatch.setattr(machine, "gpu_memory", lambda size=size: size)
        with pytest.raises(UserError, match=words) as caught:
            check_memory(result, recipe, LARGE, 1)
        assert str(caught.value).endswith("or check_memory=false to try it")
        check_memory(result, recipe | {"check_memory": False}, LARGE, 1)
