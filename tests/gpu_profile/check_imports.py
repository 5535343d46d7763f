"""Every feature that a recipe for GPUs or an advice of the planner names can be imported in the locked environment."""

import ast
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from profile_recipes import FOLDER, ROOT

# Key (or key=value) of a recipe to what it needs. LLaMA-Factory's optional features are here whether or not a recipe names
# them today, so that one which comes to do so is checked.
NEEDS = {
    "enable_liger_kernel": ["liger_kernel.transformers.monkey_patch", "liger_kernel.ops.rms_norm"],
    "quantization_bit": ["bitsandbytes"],
    "deepspeed": [
        "deepspeed",
        "deepspeed.runtime.engine",
        "deepspeed.runtime.zero.stage3",
        "deepspeed.module_inject.auto_tp",
    ],
    "use_vllm": ["vllm", "trl.extras.vllm_client", "trl.trainer.grpo_trainer"],
    "engine": ["vllm.entrypoints.llm", "vllm.lora.request", "vllm.entrypoints.openai.api_server"],
    "tensor_model_parallel_size": ["megatron.core", "megatron.core.models.gpt", "megatron.core.optimizer"],
    "report_to=tensorboard": ["torch.utils.tensorboard"],
    "report_to=wandb": ["wandb"],
    "use_swanlab": ["swanlab"],
    "use_galore": ["galore_torch"],
    "use_apollo": ["apollo_torch"],
    "use_badam": ["badam"],
    "use_unsloth": ["unsloth"],
    "quantization_method=hqq": ["hqq"],
    "quantization_method=eetq": ["eetq"],
}
# The user's own build for a GPU; the recipe's comment and the error of a start without it say so.
NOT_LOCKED = {"flash_attn=fa2"}

# What vLLM's extensions want of the driver; none is called here.
DRIVER = """cuCtxGetCurrent cuCtxSetCurrent cuDevicePrimaryCtxRetain cuGetErrorString cuMemAddressFree cuMemAddressReserve
cuMemCreate cuMemGetAllocationGranularity cuMemMap cuMemRelease cuMemSetAccess cuMemUnmap cuPointerGetAttribute
cuTensorMapEncodeTiled""".split()


def named() -> dict[str, str]:
    """Features that recipes (their comments included, which offer alternatives) and the planner's advice name, and where."""
    from text2sql.plan.advice import _CHANGES

    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml"))}
    texts["text2sql.plan"] = "\n".join(f"{key}={value}" for change in _CHANGES for key, value in change.items())
    found: dict[str, str] = {}
    for where, text in texts.items():
        pairs = re.findall(r"^(?:# )?(\w+): *([\w./-]+)", text, re.MULTILINE) + re.findall(r"\b(\w+)=([\w./-]+)", text)
        for key, value in pairs:
            for feature in (key, f"{key}={value}"):
                if value not in ("false", "False", "null", "None") and feature in NEEDS.keys() | NOT_LOCKED:
                    found.setdefault(feature, where)
    return found


def test_named_features_are_found() -> None:
    """The reading above sees a plain key, a commented one, one in a sentence and one of the planner."""
    assert {"enable_liger_kernel", "use_vllm", "flash_attn=fa2", "quantization_bit", "deepspeed"} <= named().keys()


@pytest.mark.parametrize("feature", sorted(named().keys() - NOT_LOCKED))
def test_feature_imports(feature: str) -> None:
    for module in NEEDS[feature]:
        importlib.import_module(module)


def test_the_environment_is_the_lock() -> None:
    wrong = []
    for line in (ROOT / "requirements/train-cuda.txt").read_text(encoding="utf-8").splitlines():
        name, pin, version = line.partition("==")
        if pin and not line.startswith("#") and importlib.metadata.version(name).partition("+")[0] != version:
            wrong.append(f"{line}, installed {importlib.metadata.version(name)}")
    assert not wrong


def test_trl_finds_its_vllm() -> None:
    from trl.import_utils import is_liger_kernel_available, is_vllm_available

    assert is_vllm_available()
    assert is_liger_kernel_available()


def test_vllm_takes_what_trl_gives_it() -> None:
    """TRL names one vLLM version and warns of others, so each argument of its colocated engine is looked up."""
    import trl.trainer.grpo_trainer as trainer
    from vllm import SamplingParams
    from vllm.engine.arg_utils import EngineArgs
    from vllm.sampling_params import GuidedDecodingParams

    tree = ast.parse(Path(trainer.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "LLM"]
    assert len(calls) == 1
    given = {keyword.arg for keyword in calls[0].keywords}
    assert {"max_model_len", "gpu_memory_utilization", "enable_sleep_mode"} <= given
    assert not given - set(EngineArgs.__dataclass_fields__)
    SamplingParams(
        n=1,
        repetition_penalty=1.0,
        temperature=1.0,
        top_p=1.0,
        top_k=-1,
        min_p=0.0,
        max_tokens=8,
        logprobs=0,
        guided_decoding=GuidedDecodingParams(regex="a+"),
    )


def test_vllm_takes_what_our_worker_gives_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker was tried on CPUs, with another version of vLLM."""
    from inspect import signature

    from vllm import SamplingParams
    from vllm.engine.arg_utils import EngineArgs
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.llm_engine import LLMEngine

    from text2sql.generate import vllm_engine
    from text2sql.infer import InferOptions
    from text2sql.recipe import load_recipe, options_from

    recipe = "recipes/qwen3_1p7b/infer.yaml"
    overrides = [f"model_name_or_path={base}", "tensor_parallel_size=2"]
    options = options_from(InferOptions, load_recipe(ROOT / recipe, overrides), recipe)
    monkeypatch.setattr(vllm_engine, "gpu_count", lambda: 2)
    settings = vllm_engine.worker_settings(options, 512)["llm"]
    assert settings["tensor_parallel_size"] == 2
    EngineArgs(**settings, generation_config="vllm", enable_lora=True, max_lora_rank=32)
    sampling = vllm_engine._sampling(options, [1])
    SamplingParams(**sampling, repetition_penalty=1.0, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY)
    parameters = list(signature(LLMEngine.add_request).parameters)
    assert parameters[1:4] == ["request_id", "prompt", "params"]
    assert "lora_request" in parameters
    assert {"step", "has_unfinished_requests"} <= vars(LLMEngine).keys()


def test_vllms_kernels_fit_this_torch(tmp_path: Path) -> None:
    """Its extensions are loaded with an empty driver: their symbols are resolved against the locked torch."""
    if subprocess.run(["which", "gcc"], capture_output=True, check=False).returncode:
        pytest.skip("no C compiler for the empty driver")
    source = tmp_path / "driver.c"
    source.write_text("".join(f"int {name}(void) {{ return 100; }}\n" for name in DRIVER), encoding="utf-8")
    library = tmp_path / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(library), str(source)], check=True)
    code = (
        "import torch, vllm._C, vllm._moe_C, vllm.cumem_allocator, vllm.vllm_flash_attn._vllm_fa2_C\n"
        "assert torch.ops._C.rms_norm and torch.ops._C_cache_ops.reshape_and_cache_flash"
    )
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
