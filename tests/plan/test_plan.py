"""The planner's arithmetic against published figures, against PyTorch's own saved tensors, and its command."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from text2sql.checkpoint.model import folder_shapes
from text2sql.checkpoint.shape import KNOWN, Shape, shape_of
from text2sql.errors import UserError
from text2sql.plan.advice import advise
from text2sql.plan.batch import training_flops
from text2sql.plan.estimate import Estimate, estimate
from text2sql.plan.evaluation import evaluation_bytes
from text2sql.plan.layout import Layout
from text2sql.plan.memory import Precision, Work, autocast_bytes, layer_bytes, local_parameters, precision_of, states
from text2sql.recipe import load_recipe

ROOT = Path(__file__).parents[2]
FULL = ROOT / "recipes/qwen3_1p7b/full_sft.yaml"
# Published counts of the Qwen3 dense models.
PUBLISHED = {
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-1.7B": 1_720_574_976,
    "Qwen3-4B": 4_022_468_096,
    "Qwen3-8B": 8_190_735_360,
    "Qwen3-14B": 14_768_307_200,
    "Qwen3-32B": 32_762_123_264,
}
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SMALL = Shape(64, 128, 2, 4, 2, 32, 352, tied=True)


def plan(recipe: Path = FULL, processes: int = 1, **keys: Any) -> Estimate:
    return estimate({**load_recipe(recipe, []), **keys}, recipe, processes)


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("USE_MCA", raising=False)


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_the_published_ones(name: str) -> None:
    assert KNOWN[name].parameters == PUBLISHED[name]


def test_parameters_are_those_in_the_file() -> None:
    shape, source = shape_of("models/tiny-base")
    stored = folder_shapes(ROOT / "models/tiny-base").values()
    assert shape.parameters == sum(torch.Size(one).numel() for one in stored)
    assert source == "models/tiny-base/config.json"


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ALL])
def test_lora_parameters_are_peft_s(targets: tuple[str, ...]) -> None:
    from peft import LoraConfig, get_peft_model

    with torch.device("meta"):
        model = get_peft_model(network(KNOWN["Qwen3-1.7B"]), LoraConfig(r=32, target_modules=list(targets)))
    learning = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert KNOWN["Qwen3-1.7B"].lora_parameters(targets, 32) == learning


def network(shape: Shape, attention: str = "sdpa") -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate,
        tie_word_embeddings=shape.tied,
        use_cache=False,
    )
    config._attn_implementation = attention
    return Qwen3ForCausalLM(config)


@pytest.mark.parametrize(("stage", "whole", "shared"), [(0, 16, 0), (1, 4, 12), (2, 2, 14), (3, 0, 16)])
def test_zero_divides_as_the_paper_says(stage: int, whole: int, shared: int) -> None:
    """ZeRO, section 5: 16 bytes a weight, of which each stage divides more."""
    shape, n = KNOWN["Qwen3-1.7B"], 8
    layout = Layout("deepspeed", n, zero=stage)
    found = states(shape, layout, precision_of({"bf16": True}, layout), shape.parameters, "adamw_torch_fused")
    assert found.weights + found.gradients + found.optimizer == pytest.approx((whole + shared / n) * shape.parameters)


@pytest.mark.parametrize(("distributed", "whole", "shared"), [(0, 18, 0), (1, 6, 12)])
def test_megatron_divides_as_its_documentation_says(distributed: int, whole: int, shared: int) -> None:
    shape = KNOWN["Qwen3-8B"]
    layout = Layout("megatron", 4, zero=distributed)
    found = states(shape, layout, precision_of({"bf16": True}, layout), shape.parameters, "adamw_torch_fused")
    assert found.weights + found.gradients + found.optimizer == pytest.approx((whole + shared / 4) * shape.parameters)


def test_tensor_and_pipeline_parallelism_divide_the_weights() -> None:
    shape = KNOWN["Qwen3-8B"]
    megatron = local_parameters(shape, Layout("megatron", 2, tensor=2))
    assert shape.parameters / 2 < megatron < shape.parameters / 2 * 1.001, "all but the norms"
    deepspeed = local_parameters(shape, Layout("deepspeed", 2, tensor=2))
    assert deepspeed - megatron == shape.embedding / 2, "DeepSpeed leaves the embedding whole"
    stages = local_parameters(shape, Layout("megatron", 2, pipeline=2))
    assert shape.parameters / 2 < stages < shape.parameters * 0.55, "half of the layers, and one end"


def kept_by_torch(layers: int, half: bool, autocast: bool, targets: tuple[str, ...], attention: str) -> int:
    """Bytes that the backward pass of ``layers`` layers needs, as PyTorch's own hooks see them; weights left out."""
    shape = Shape(SMALL.vocab, SMALL.hidden, layers, 4, 2, 32, SMALL.intermediate, tied=True)
    model = network(shape, attention).to(torch.bfloat16 if half else torch.float32)
    if targets:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=2, target_modules=list(targets)), autocast_adapter_dtype=False)
        model.enable_input_require_grads()
        model = model.base_model.model
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens, mask = torch.randint(0, shape.vocab, (2, 128)), torch.ones(2, 128, dtype=torch.long)
    mask[0, :20] = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        model.model(input_ids=tokens, attention_mask=mask)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("targets", [(), ("q_proj", "v_proj"), ALL], ids=["full", "lora_qv", "lora_all"])
@pytest.mark.parametrize(("half", "autocast"), [(False, False), (True, False), (False, True)])
def test_activations_are_what_torch_keeps(half: bool, autocast: bool, targets: tuple[str, ...], attention: str) -> None:
    if autocast and targets:
        pytest.skip("LLaMA-Factory's frozen weights are in bf16 then")
    measured = kept_by_torch(4, half, autocast, targets, attention) - kept_by_torch(
        2, half, autocast, targets, attention
    )
    compute = 2 if half or autocast else 4
    precision = Precision(compute, 4, 4, 0, compute, autocast)
    work = Work(2, 128, "eager" if attention == "eager" else "padding mask", False, False, False, 1, targets)
    expected = 2 * layer_bytes(SMALL, Layout("plain", 1), work, precision)
    expected += autocast_bytes(SMALL, work, precision) - (precision.compute * SMALL.embedding if autocast else 0)
    assert expected == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize("half", [False, True])
def test_logits_of_an_evaluation_are_what_torch_allocates(half: bool) -> None:
    """A forward pass with labels and without gradients, as transformers' evaluation runs it; the largest sum of tensors."""
    shape = Shape(16_384, 64, 2, 4, 2, 32, 128, tied=True)
    model = network(shape).to(torch.bfloat16 if half else torch.float32).eval()
    tokens = torch.randint(0, shape.vocab, (2, 128))
    with (
        torch.no_grad(),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen,
    ):
        model(input_ids=tokens, labels=tokens)
    events = (event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]")
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    compute = 2 if half else 4
    work = Work(2, 128, "flash", False, False, False, 1)
    expected = evaluation_bytes(shape, Layout("plain", 1), work, Precision(compute, 4, 4, 0, compute, False), "sft")
    assert expected == pytest.approx(highest, rel=0.02)


@pytest.mark.parametrize("targets", [(), ALL], ids=["full", "lora_all"])
def test_operations_are_what_torch_counts(targets: tuple[str, ...]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, length, rank = network(SMALL, "eager"), 64, 8
    if targets:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=rank, target_modules=list(targets)))
        model.enable_input_require_grads()
    tokens = torch.randint(0, SMALL.vocab, (2, length))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=tokens, labels=tokens).loss.backward()
    causal = 6 * 2 * length**2 * SMALL.query * SMALL.layers  # torch counts what the mask takes away, we do not
    ours = training_flops(SMALL, SMALL.lora_parameters(targets, rank), [length, length])
    assert ours + causal == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_evaluation_needs_the_logits_that_liger_saves_in_training() -> None:
    lora = ROOT / "recipes/qwen3_1p7b/lora_all_sft.yaml"
    four = plan(lora, per_device_eval_batch_size=4)
    assert four.worst == "evaluation"
    assert four.evaluation == pytest.approx(4 * 2048 * 151_936 * 10, rel=0.01), (
        "logits in bf16 and fp32, log-softmax in fp32"
    )
    assert four.needed("evaluation") > 2 * four.needed("end of the forward pass")
    assert plan(lora, per_device_eval_batch_size=1).evaluation == pytest.approx(four.evaluation / 4)
    assert "evaluation" not in plan(lora, eval_strategy="no").moments
    recipe = {**load_recipe(lora, []), "per_device_eval_batch_size": 8}
    assert [change for change, _ in advise(recipe, lora, 1, 24)] == ["per_device_eval_batch_size=1"]


def test_grpo_is_told_to_generate_fewer_completions_at_a_time() -> None:
    path = ROOT / "recipes/qwen3_1p7b/grpo_execution.yaml"
    advice = advise(load_recipe(path, []), path, 1, 24)
    assert [change for change, _ in advice] == ["steps_per_generation=1", "per_device_train_batch_size=8"]
    assert advice[-1][1].fits(24)
    assert advice[-1][1].batch.global_sequences == 128


def test_rollouts_by_vllm_take_their_share() -> None:
    recipe = ROOT / "recipes/qwen3_1p7b/grpo_execution.yaml"
    own, vllm = plan(recipe), plan(recipe, use_vllm=True, vllm_mode="colocate", vllm_gpu_memory_utilization=0.5)
    assert "generation" not in vllm.moments
    assert vllm.peak < own.peak
    assert vllm.fits(2.1 * vllm.peak / 1e9)
    assert not vllm.fits(1.9 * vllm.peak / 1e9)


def test_what_saves_memory_saves_memory() -> None:
    base = {"enable_liger_kernel": False, "deepspeed": None}
    whole = plan(**base, disable_gradient_checkpointing=True)
    assert plan(**base).activations < whole.activations / 5, "recomputation"
    assert plan(deepspeed=None).loss < plan(**base).loss / 10, "no logits of 151,936 entries a token"
    qlora = plan(**base, finetuning_type="lora", quantization_bit=4).states.weights
    lora = plan(**base, finetuning_type="lora").states.weights
    assert qlora < 0.5 * lora
    peaks = [plan(processes=4, deepspeed=f"recipes/deepspeed/zero{stage}.json").peak for stage in (2, 3)]
    assert plan(processes=4, deepspeed=None).peak > peaks[0]
    half = plan(processes=2, deepspeed="recipes/deepspeed/zero2_tp.json")
    assert half.layout.describe() == "data 1 x tensor 2 x pipeline 1, DeepSpeed ZeRO-2"
    assert half.states.optimizer < 0.6 * plan().states.optimizer


def test_qwen3_1p7b_full_needs_several_small_gpus() -> None:
    assert not plan(processes=1).fits(24)
    assert plan(processes=4).fits(24)
    assert plan(ROOT / "recipes/qwen3_1p7b/lora_all_sft.yaml").fits(24)


def test_generation_and_references_count() -> None:
    grpo = plan(ROOT / "recipes/qwen3_1p7b/grpo_execution.yaml")
    assert grpo.worst == "generation"
    pairs = plan(stage="dpo", deepspeed=None)
    assert pairs.reference == pytest.approx(2 * pairs.shape.parameters)
    assert pairs.work.sequences == 2 * plan().work.sequences
    assert plan(stage="dpo", deepspeed=None, finetuning_type="lora").reference == 0


def test_batch_arithmetic(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "SELECT 1"}]}
    (tmp_path / "rows.jsonl").write_text((json.dumps(row) + "\n") * 103, encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.jsonl"}}), encoding="utf-8")
    recipe = {
        "model_name_or_path": "models/tiny-base",
        "dataset_dir": str(tmp_path),
        "dataset": "rows",
        "val_size": 3,
        "cutoff_len": 512,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 3,
        "num_train_epochs": 2,
    }
    found = estimate(recipe, FULL, 2).batch
    assert (found.global_sequences, found.steps_per_epoch, found.steps) == (
        24,
        5,
        10,
    )  # 100 in 13 batches of 8, 3 a step
    assert found.lengths is not None
    assert found.real_tokens == 24 * found.lengths.longest
    grpo = {**recipe, "stage": "grpo", "num_generations": 4}
    assert estimate(grpo, FULL, 2).batch.steps_per_epoch == 17, "400 completions"
    packed = estimate({**recipe, "packing": True}, FULL, 2).batch
    assert packed.steps_per_epoch == 1
    assert packed.tokens == 24 * 520


@pytest.mark.parametrize(
    ("keys", "processes", "words"),
    [
        ({"model_name_or_path": "models/other"}, 1, ["models/other", "Qwen3-1.7B"]),
        ({"deepspeed": "recipes/deepspeed/zero2_tp.json"}, 3, ["not 3", "tensor 2"]),
        ({"tensor_model_parallel_size": 3}, 3, ["16 attention heads", "3"]),
        ({"pipeline_model_parallel_size": 3}, 3, ["28 layers", "3"]),
        ({"finetuning_type": "lora", "lora_target": "q_projection"}, 1, ["q_projection", "q_proj"]),
        ({"per_device_train_batch_size": "two"}, 1, ["per_device_train_batch_size", "number", "'two'"]),
        ({"gradient_accumulation_steps": -1}, 1, ["gradient_accumulation_steps", "-1"]),
        ({"lora_rank": 0}, 1, ["lora_rank", "above 0"]),
        ({}, 3, ["global_batch 16 is no multiple", "3 data-parallel processes"]),
    ],
)
def test_what_cannot_run_is_said(keys: dict[str, Any], processes: int, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        plan(processes=processes, **keys)
    assert all(word in str(error.value) for word in words)


def test_a_cut_data_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"messages": [{"role": "user", "con', encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.jsonl"}}), encoding="utf-8")
    with pytest.raises(UserError, match=r"rows\.jsonl: a line is not JSON .*; prepare the data again"):
        plan(dataset_dir=str(tmp_path), dataset="rows")


def test_advice_ends_with_what_fits() -> None:
    recipe = {**load_recipe(FULL, []), "deepspeed": None}
    advice = advise(recipe, FULL, 4, 24)
    assert advice[-1][1].fits(24)
    assert advice[0][0] == "deepspeed=recipes/deepspeed/zero2.json"
