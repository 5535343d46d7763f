"""Every training recipe's model at Qwen3-1.7B's full size, on the meta device: shapes without weights.

LLaMA-Factory's own loader builds it, its trainer groups the parameters, and DeepSpeed reads the recipe's settings.
"""

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from profile_recipes import HERE, NO_EVALUATION, ON_CPU, ROOT, SHARED, by_stage, read

# The published configuration.
QWEN3: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 2048,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 6144,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 40_960,
    "rope_theta": 1_000_000,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "attention_bias": False,
    "torch_dtype": "bfloat16",
}
PARAMETERS = 1_720_574_976
NORMS = 28 * (2 * 2048 + 2 * 128) + 2048
LINEARS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
# Rank 32: 32 * (inputs + outputs) of each target in each of 28 layers.
LORA_ALL = 28 * 32 * (2 * (2048 + 2048) + 2 * (2048 + 1024) + 3 * (2048 + 6144))
EXPECTED = {
    "lora_qv_sft": ({"q_proj", "v_proj"}, 28 * 32 * (2048 + 2048 + 2048 + 1024)),
    "lora_all_sft": (LINEARS, LORA_ALL),
    "full_sft": (set(), PARAMETERS),
    "full_sft_broad": (set(), PARAMETERS),
    "full_sft_mix": (set(), PARAMETERS),
    "full_sft_zero2_tp": (set(), PARAMETERS),
    "revise_sft": (LINEARS, LORA_ALL),
    "dpo": (LINEARS, LORA_ALL),
    "reward_model": (LINEARS, LORA_ALL),  # beside it a value head of 2,048 weights
    "grpo_execution": (LINEARS, LORA_ALL),
    "grpo_process": (LINEARS, LORA_ALL),
    "grpo_reasoning": (LINEARS, LORA_ALL),
}
BY_MEGATRON = "full_sft_megatron"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory, qwen_tokenizer: Path | None) -> Path:
    """The configuration, and Qwen's tokenizer or else the tiny base's; no weights."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("qwen3_1p7b")
    AutoTokenizer.from_pretrained(qwen_tokenizer or ROOT / "models/tiny-base").save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(QWEN3), encoding="utf-8")
    return folder


def parse(name: str, model_folder: Path, output: Path, **keys: Any) -> tuple[Any, ...]:
    """The recipe as LLaMA-Factory's arguments, without keys of Megatron and of evaluation, which needs data.

    DeepSpeed wants several processes, so its settings are read on their own.
    """
    from llamafactory.hparams import get_train_args, parser

    from text2sql.llamafactory import register

    register()
    known = {field.name for kind in parser._TRAIN_ARGS for field in fields(kind)}
    recipe = {key: value for key, value in read(name).items() if key in known or name != BY_MEGATRON}
    given = {"model_name_or_path": str(model_folder), "output_dir": str(output), "train_from_scratch": True}
    arguments: tuple[Any, ...] = get_train_args(recipe | given | ON_CPU | NO_EVALUATION | keys)
    return arguments


def build(name: str, model_folder: Path, output: Path, **keys: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """Tokenizer, model without weights, and arguments."""
    import torch
    from llamafactory.model import load_model, load_tokenizer

    arguments = parse(name, model_folder, output, **keys)
    tokenizer = load_tokenizer(arguments[0])
    with torch.device("meta"):
        model = load_model(tokenizer["tokenizer"], arguments[0], arguments[3], is_trainable=True)
    return tokenizer, model, arguments


def trainer_of(model: Any, tokenizer: dict[str, Any], arguments: tuple[Any, ...], **data: Any) -> Any:
    from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer

    class OnMeta(CustomSeq2SeqTrainer):
        def _move_model_to_device(self, model: Any, device: Any) -> None:
            """There is nothing to move."""

    return OnMeta(model=model, args=arguments[2], finetuning_args=arguments[3], **tokenizer, **data)


@pytest.mark.parametrize("name", EXPECTED)
def test_full_size(name: str, model_folder: Path, tmp_path: Path) -> None:
    targets, trainable = EXPECTED[name]
    tokenizer, model, arguments = build(name, model_folder, tmp_path / "out")
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    adapters = {path for path, _ in model.named_modules() if path.endswith("lora_A.default")}
    assert {path.split(".")[-3] for path in adapters} == targets
    assert len(adapters) == 28 * len(targets)
    counted = {key: p.numel() for key, p in model.named_parameters() if p.requires_grad}
    assert sum(counted.values()) == trainable
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS + (trainable if targets else 0)

    trainer = trainer_of(model, tokenizer, arguments)
    optimizer = trainer.create_optimizer()
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    assert sizes == ([trainable, 0] if targets else [trainable - NORMS, NORMS]), "with weight decay and without"
    settings = read(name).get("deepspeed")
    if settings:
        check_deepspeed(ROOT / settings, arguments[2], model)


def check_deepspeed(path: Path, training: Any, model: Any) -> None:
    """transformers fills in every ``auto``, DeepSpeed reads the result, and a split layer is found by its pattern."""
    from deepspeed.runtime.config import DeepSpeedConfig
    from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

    filled = HfTrainerDeepSpeedConfig(str(path))
    filled.trainer_config_process(training)
    filled.trainer_config_finalize(training, model, num_training_steps=100)
    assert '"auto"' not in json.dumps(filled.config)
    read_back = DeepSpeedConfig(filled.config)
    assert read_back.zero_optimization_stage == int(re.findall(r"zero(\d)", path.name)[0])
    assert read_back.train_micro_batch_size_per_gpu == training.per_device_train_batch_size
    assert read_back.optimizer_name == "adamw"
    specs = filled.config.get("tensor_parallel", {}).get("partition_config", {}).get("layer_specs", [])
    if specs:
        assert read_back.tensor_parallel_config.autotp_size == 2
        names = [key for key, p in model.named_parameters() if ".layers." in key and "layernorm" not in key]
        matches = {
            key: sum(bool(re.match(pattern, key)) for spec in specs for pattern in spec["patterns"]) for key in names
        }
        assert set(matches.values()) == {1}, "every matrix and query or key norm of a layer is in one pattern"
        assert len(names) == 28 * (len(LINEARS) + 2)


@pytest.mark.parametrize("name", [BY_MEGATRON])
def test_full_size_by_megatron(name: str) -> None:
    """Its model, one process of the recipe's four, in a process of its own: it has a process group, of stand-ins."""
    recipe = read(name)
    split = recipe["tensor_model_parallel_size"]
    words = [str(split), str(recipe["pipeline_model_parallel_size"]), json.dumps(QWEN3)]
    done = subprocess.run(
        [sys.executable, str(HERE / "megatron_size.py"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"parameters": (PARAMETERS - NORMS) // split + NORMS, "data_parallel": 4 // split}


@pytest.mark.parametrize("name", by_stage("sft"))
def test_first_batch(
    name: str, model_folder: Path, qwen_tokenizer: Path | None, prepared: tuple[str, Path], tmp_path: Path
) -> None:
    """Counts by Qwen's own tokenizer: packed sequences are full, and each has answers to learn."""
    if qwen_tokenizer is None:
        pytest.skip(f"{SHARED}/tokenizer_qwen is not there")
    import torch
    from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer

    source, folder = prepared
    keys = {"dataset_dir": str(folder), "dataset": f"{source}_train", "max_samples": 600}
    tokenizer, model, arguments = build(name, model_folder, tmp_path / "out", **keys)
    model_args, data_args, training_args = arguments[:3]
    template = get_template_and_fix_tokenizer(tokenizer["tokenizer"], data_args)
    dataset = get_dataset(template, model_args, data_args, training_args, stage="sft", **tokenizer)
    collator = SFTDataCollatorWith4DAttentionMask(
        template=template,
        model=model,
        pad_to_multiple_of=8,
        block_diag_attn=model_args.block_diag_attn,
        neat_packing=data_args.neat_packing,
        attn_implementation="sdpa",
        compute_dtype=torch.bfloat16,
        **tokenizer,
    )
    training_args.remove_unused_columns = False
    trainer = trainer_of(model, tokenizer, arguments, data_collator=collator, train_dataset=dataset["train_dataset"])
    batch = next(iter(trainer.get_train_dataloader()))
    ids, recipe = batch["input_ids"], read(name)
    real = ids != tokenizer["tokenizer"].pad_token_id
    learnt = (batch["labels"] != -100).sum(dim=1)
    packed = bool(recipe.get("packing"))
    examples = int(((batch["position_ids"] == 0) & real).sum()) if packed else len(ids)
    filled = real.float().mean().item()
    sys.stdout.write(
        f"{name} on {source}: {tuple(ids.shape)}, {filled:.0%} filled, {examples} examples, learnt {learnt.tolist()}\n"
    )
    assert len(ids) == recipe["per_device_train_batch_size"]
    assert ids.max() < QWEN3["vocab_size"]
    assert (learnt > 0).all()
    if packed:
        assert ids.shape[1] == recipe["cutoff_len"]
        assert filled > 0.9
        assert examples > len(ids)
    else:
        assert ids.shape[1] <= recipe["cutoff_len"]


@pytest.mark.parametrize("name", by_stage("grpo"))
def test_first_prompts(
    name: str, model_folder: Path, qwen_tokenizer: Path | None, prepared: tuple[str, Path], tmp_path: Path
) -> None:
    """Prompts of a first batch by Qwen's own tokenizer are within ``cutoff_len``, so that none is left out."""
    if qwen_tokenizer is None:
        pytest.skip(f"{SHARED}/tokenizer_qwen is not there")
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.model import load_tokenizer

    from text2sql.grpo.workflow import build_prompts, load_examples

    source, folder = prepared
    keys = {"dataset_dir": str(folder), "dataset": f"{source}_train_grpo", "max_samples": 128}
    arguments, recipe = parse(name, model_folder, tmp_path / "out", **keys), read(name)
    tokenizer = load_tokenizer(arguments[0])["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, arguments[1])
    examples, _ = load_examples(*arguments[:3])
    prompts = build_prompts(examples, template, tokenizer, recipe["answer_format"], recipe["cutoff_len"])
    assert len(prompts) == len(examples) == 128
    lengths = [len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) for prompt in prompts["prompt"]]
    longest = max(lengths) + recipe["max_completion_length"]
    sys.stdout.write(
        f"{name} on {source}: prompts of {sum(lengths) / 128:.0f} tokens, longest with its answer {longest}\n"
    )
