"""Which recipes are Megatron's, and which keys its backend in LLaMA-Factory would read into nothing.

LLaMA-Factory parses one set of keys for all backends; mcore_adapter's trainer uses some of them and says nothing about the
rest, so that a recipe can promise what does not happen.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from text2sql.errors import UserError

# Keys of mcore_adapter's own that a recipe for a dense decoder may use; its parser, where it is installed, knows more.
OWN = frozenset(
    "tensor_model_parallel_size pipeline_model_parallel_size virtual_pipeline_model_parallel_size sequence_parallel "
    "context_parallel_size variable_seq_lengths account_for_embedding_in_pipeline_split "
    "account_for_loss_in_pipeline_split pipeline_model_parallel_layout overlap_p2p_comm recompute_granularity "
    "recompute_method recompute_num_layers recompute_modules calculate_per_token_loss transformer_impl "
    "accumulate_allreduce_grads_in_fp32 use_distributed_optimizer overlap_grad_reduce delay_grad_reduce "
    "overlap_param_gather check_for_nan_in_loss_and_grad ddp_average_in_collective ddp_bucket_size optimizer "
    "optimizer_cpu_offload optimizer_offload_fraction save_hf_model ckpt_format sequence_packing additional_configs".split()
)

_CHECKPOINT = "compute activations again with recompute_granularity: full"
_BEST = "checkpoints are not compared here; score them after scripts/mg2hf.sh"
IGNORED = {
    "deepspeed": "spread optimizer states with use_distributed_optimizer: true",
    "optim": "name it with optimizer: adam",
    "optim_args": "see optimizer",
    "fsdp": "spread the model with tensor_model_parallel_size",
    "gradient_checkpointing": _CHECKPOINT,
    "disable_gradient_checkpointing": _CHECKPOINT,
    "load_best_model_at_end": _BEST,
    "metric_for_best_model": _BEST,
    "greater_is_better": _BEST,
    "early_stopping_steps": _BEST,
    "flash_attn": "Transformer Engine picks the kernel",
    "enable_liger_kernel": "Transformer Engine has its own kernels",
    "use_unsloth": "Megatron has its own layers",
    "adapter_name_or_path": "merge the adapter first (scripts/merge_hf_lora.sh)",
    "group_by_length": "examples are read in the data's order",
    "disable_shuffling": "examples are read in the data's order",
    "label_smoothing_factor": "the loss is plain cross entropy",
    "neftune_noise_alpha": "embeddings get no noise here",
    "eval_examples": _BEST,
    "predict_with_generate": "generate after scripts/mg2hf.sh",
    "compute_accuracy": "evaluation gives the loss",
    "torch_compile": "Megatron has its own layers",
    "rope_scaling": "the model's own positions are used",
}
_IGNORED_GROUPS = tuple(
    "lora_ quantization_ galore_ apollo_ badam_ freeze_ pissa_ use_galore use_badam use_apollo use_dora use_rslora fsdp_ "
    "oft_".split()
)
_STAGES = ("pt", "sft", "dpo")


def adapter_is_here() -> bool:
    """True where mcore_adapter itself can be imported, not the package index's namesake."""
    spec = find_spec("mcore_adapter")
    places = spec.submodule_search_locations if spec else None
    return any((Path(place) / "training_args.py").is_file() for place in places or ())


def is_megatron(recipe: Mapping[str, Any], given: Mapping[str, str], where: Path) -> bool:
    """True for a recipe with a key of Megatron's parallelism; ``given`` is the environment.

    Raises:
        UserError: USE_MCA in the environment says otherwise.
    """
    megatron = "tensor_model_parallel_size" in recipe or "pipeline_model_parallel_size" in recipe
    asked = given.get("USE_MCA", "").lower()
    if asked in ("1", "true", "y") and not megatron:
        raise UserError(
            f"{where}: USE_MCA={given['USE_MCA']} asks for Megatron, and the recipe has no tensor_model_parallel_size; take "
            "recipes/qwen3_1p7b/full_sft_megatron.yaml, or unset USE_MCA"
        )
    if asked in ("0", "false", "n") and megatron:
        raise UserError(
            f"{where}: a Megatron recipe (tensor_model_parallel_size), but USE_MCA={given['USE_MCA']}; unset it"
        )
    return megatron


def check_keys(recipe: Mapping[str, Any], where: Path) -> None:
    """Refuse keys that Megatron's backend would not read, and values that would not run.

    Raises:
        UserError: names the first such key, and what to write instead.
    """
    if recipe.get("finetuning_type", "lora") != "full":
        raise UserError(
            f"{where}: Megatron trains all weights here; write finetuning_type: full, or take a LoRA recipe"
        )
    if recipe.get("stage", "sft") not in _STAGES:
        raise UserError(f"{where}: stage {recipe['stage']} does not run on Megatron; it has {', '.join(_STAGES)}")
    for key in recipe:
        if key in IGNORED:
            raise UserError(f"{where}: {key} has no effect on Megatron; remove it ({IGNORED[key]})")
        if key.startswith(_IGNORED_GROUPS):
            raise UserError(f"{where}: {key} has no effect on Megatron, which trains all weights; remove it")
    if not (recipe.get("bf16") or recipe.get("fp16")):
        raise UserError(f"{where}: bf16: true is missing; mcore_adapter's loss does not run in float32")
    if recipe.get("ckpt_format", "legacy") != "legacy":
        raise UserError(
            f"{where}: ckpt_format: {recipe['ckpt_format']} cannot be converted by scripts/mg2hf.sh; use legacy"
        )
    if 0 < int(recipe.get("max_steps") or 0) <= int(recipe.get("warmup_steps") or 0):
        raise UserError(f"{where}: warmup_steps {recipe['warmup_steps']} must be below max_steps {recipe['max_steps']}")
    if recipe.get("packing") and not (recipe.get("neat_packing") or recipe.get("sequence_packing")):
        raise UserError(f"{where}: packing alone lets examples see each other on Megatron; add neat_packing: true")
