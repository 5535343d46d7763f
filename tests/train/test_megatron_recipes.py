"""Megatron recipes: keys that its backend reads, and a preflight that refuses the others, each in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.recipes import MEGATRON, ROOT, engine, load
from text2sql.errors import UserError
from text2sql.recipe.megatron import IGNORED, OWN, adapter_is_here, check_keys, is_megatron
from text2sql.train import megatron

TINY = ROOT / "recipes/tiny/full_sft_megatron.yaml"
WHERE = Path("mine.yaml")
GB = 10**9

PARSE = """
import json, sys
from llamafactory.hparams import parser
from transformers import HfArgumentParser
recipe = json.load(sys.stdin) | {"use_cpu": True, "report_to": "none"}
parts = HfArgumentParser(parser._TRAIN_MCA_ARGS or parser._TRAIN_ARGS).parse_dict(recipe, allow_extra_keys=False)
print("\\n" + json.dumps({k: str(getattr(p, k)) for p in parts for k in recipe if hasattr(p, k)}))
"""


def parse(recipe: dict, **environment: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", PARSE],
        input=json.dumps(recipe),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("path", MEGATRON, ids=lambda p: p.parent.name)
def test_every_key_is_one_that_the_backend_reads(path: Path) -> None:
    """Where mcore_adapter is installed its own parser decides, else LLaMA-Factory's and the list of mcore_adapter's keys."""
    check_keys(load(path), path)
    recipe = engine(path, 2)
    if adapter_is_here():
        values = parse(recipe, USE_MCA="1")
        assert {key for key in recipe if values[key] != str(recipe[key])} <= {"report_to", "lr_scheduler_type"}
    else:
        shared = {key: value for key, value in recipe.items() if key not in OWN}
        assert shared.keys() <= parse(shared).keys()
        assert recipe.keys() - shared.keys() >= {"tensor_model_parallel_size", "transformer_impl", "optimizer"}


def test_twins_agree_on_the_method() -> None:
    large, tiny = (load(path) for path in sorted(MEGATRON))
    for key in (
        "stage",
        "finetuning_type",
        "template",
        "enable_thinking",
        "calculate_per_token_loss",
        "optimizer",
        "ckpt_format",
        "bf16",
        "save_hf_model",
    ):
        assert large[key] == tiny[key], key


def test_the_namesake_is_told_from_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mcore_adapter").mkdir()
    (tmp_path / "mcore_adapter/__init__.py").touch()
    assert not adapter_is_here()
    (tmp_path / "mcore_adapter/training_args.py").touch()
    assert adapter_is_here()


def test_the_recipe_decides_the_backend() -> None:
    assert is_megatron(load(TINY), {}, TINY)
    assert is_megatron(load(TINY), {"USE_MCA": "1"}, TINY)
    assert not is_megatron(load(ROOT / "recipes/qwen3_1p7b/full_sft.yaml"), {}, TINY)
    with pytest.raises(UserError, match="no tensor_model_parallel_size"):
        is_megatron({"stage": "sft"}, {"USE_MCA": "1"}, WHERE)
    with pytest.raises(UserError, match="USE_MCA=0; unset it"):
        is_megatron(load(TINY), {"USE_MCA": "0"}, TINY)


@pytest.mark.parametrize("key", [*IGNORED, "lora_rank", "lora_target", "quantization_bit", "use_galore", "fsdp_config"])
def test_keys_without_effect_are_refused(key: str) -> None:
    with pytest.raises(UserError, match=f"^mine.yaml: {key} has no effect on Megatron"):
        check_keys(load(TINY) | {key: True}, WHERE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"finetuning_type": "lora"}, "write finetuning_type: full"),
        ({"finetuning_type": None}, "write finetuning_type: full"),
        ({"stage": "rm"}, "stage rm does not run on Megatron; it has pt, sft, dpo"),
        ({"bf16": False}, "bf16: true is missing"),
        ({"ckpt_format": "torch_dist"}, "cannot be converted by scripts/mg2hf.sh"),
        ({"max_steps": 20}, "warmup_steps 20 must be below max_steps 20"),
        ({"packing": True}, "examples see each other"),
    ],
)
def test_values_that_would_not_run_are_refused(change: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_keys(load(TINY) | change, WHERE)


def with_packages(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], *, adapter: bool = False) -> None:
    """As if only these packages were installed, and no Transformer Engine."""

    def version(name: str) -> str:
        if name in versions:
            return versions[name]
        raise megatron.PackageNotFoundError(name)

    monkeypatch.setattr(megatron, "version", version)
    monkeypatch.setattr(megatron, "find_spec", lambda name: None)
    monkeypatch.setattr(megatron, "adapter_is_here", lambda: adapter)


def test_missing_packages_are_named_with_their_home(monkeypatch: pytest.MonkeyPatch) -> None:
    large = load(ROOT / "recipes/qwen3_1p7b/full_sft_megatron.yaml")
    core = {"megatron-core": "0.16.1"}
    with_packages(monkeypatch, {})
    with pytest.raises(UserError, match=r"megatron-core is not installed; run `bash scripts/setup.sh train`"):
        megatron.check_packages(large, WHERE)
    with_packages(monkeypatch, core)
    with pytest.raises(UserError, match=r"mcore_adapter is not installed.*alibaba/ROLL.*subdirectory=mcore_adapter"):
        megatron.check_packages(large, WHERE)
    with_packages(monkeypatch, core | {"mcore_adapter": "0.0.1"})
    with pytest.raises(UserError, match=r"mcore_adapter 0\.0\.1 is .* a namesake.*alibaba/ROLL"):
        megatron.check_packages(large, WHERE)
    with_packages(monkeypatch, core, adapter=True)
    with pytest.raises(UserError, match=r"Transformer Engine is not installed.*transformer_impl=local"):
        megatron.check_packages(large, WHERE)
    megatron.check_packages(load(TINY), TINY)
    for key in ("sequence_parallel", "neat_packing"):
        with pytest.raises(UserError, match=f"{key} needs Transformer Engine"):
            megatron.check_packages(load(TINY) | {key: True}, WHERE)
    with pytest.raises(UserError, match="cannot be resumed"):
        megatron.check_packages(load(TINY) | {"use_distributed_optimizer": True}, WHERE)


@pytest.mark.parametrize(
    ("change", "processes", "words"),
    [
        ({}, 3, "tensor 1 x pipeline 2 needs 2, 4, 6"),
        ({"tensor_model_parallel_size": 2}, 4, "3 key-value heads do not divide by tensor parallel 2"),
        ({"tensor_model_parallel_size": 4}, 8, "6 attention heads do not divide"),
        ({"tensor_model_parallel_size": 3}, 6, "vocabulary 2048 does not divide by tensor parallel 3"),
        ({"pipeline_model_parallel_size": 4}, 4, "6 layers do not divide by pipeline 4"),
        ({"virtual_pipeline_model_parallel_size": 2}, 2, "do not divide by pipeline 2 x virtual 2"),
        (
            {"virtual_pipeline_model_parallel_size": 3, "global_batch": 12},
            2,
            "gradient_accumulation_steps 3 must divide by pipeline 2",
        ),
    ],
)
def test_sizes_that_do_not_divide_are_refused(
    change: dict, processes: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("text2sql.train.machine.gpu_memory", lambda: 80 * GB)
    recipe = load(TINY) | {"model_name_or_path": str(ROOT / "models/tiny-base")} | change
    with pytest.raises(UserError, match=words):
        megatron.check_machine(recipe, WHERE, processes, processes)


def test_a_machine_that_is_too_small_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = load(ROOT / "recipes/qwen3_1p7b/full_sft_megatron.yaml")
    with pytest.raises(UserError, match=r"torch sees none here.*full_sft_zero2_tp.yaml"):
        megatron.check_machine(recipe, WHERE, 4, 0)
    monkeypatch.setattr("text2sql.train.machine.gpu_memory", lambda: 24 * GB)
    with caplog.at_level("INFO"):
        assert megatron.check_machine(recipe, WHERE, 4, 4).peak < 24 * GB
    said = "layout: data 2 x tensor 2 x pipeline 1, Megatron, distributed optimizer, optimizer adam, global batch 32"
    assert said in caplog.text
    monkeypatch.setattr("text2sql.train.machine.gpu_memory", lambda: 8 * GB)
    with pytest.raises(
        UserError, match=r"needs about \d+ GB a GPU .*, which have 8; more or larger GPUs .*text2sql plan"
    ):
        megatron.check_machine(recipe, WHERE, 4, 4)


def test_the_script_refuses_in_one_line_from_any_folder(tmp_path: Path) -> None:
    script = str(ROOT / "scripts/megatron_deepspeed_train.sh")
    command = ["bash", script, "recipes/tiny/full_sft_megatron.yaml", "deepspeed=recipes/deepspeed/zero2.json"]
    done = subprocess.run(
        [*command, "output_dir=outputs/none"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "deepspeed has no effect on Megatron; remove it (spread optimizer states" in last
