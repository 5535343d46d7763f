#!/usr/bin/env bash
# Fine-tune all weights on several GPUs; the recipe decides between DeepSpeed and Megatron.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/megatron_deepspeed_train.sh [RECIPE] [key=value ...]

Checks the recipe against the machine, then trains with `llamafactory-cli train`. The backend is the one that the recipe's
keys name:
  tensor_model_parallel_size, pipeline_model_parallel_size   Megatron through mcore_adapter (USE_MCA=1 is set)
  deepspeed                                                  DeepSpeed: ZeRO, and tensor parallelism by autotp_size
Without RECIPE: recipes/qwen3_1p7b/full_sft_megatron.yaml. Its header says what Megatron needs to be installed.

Examples:
  bash scripts/megatron_deepspeed_train.sh recipes/qwen3_1p7b/full_sft_megatron.yaml tensor_model_parallel_size=4
  bash scripts/megatron_deepspeed_train.sh recipes/qwen3_1p7b/full_sft_zero2_tp.yaml
  NPROC_PER_NODE=2 bash scripts/megatron_deepspeed_train.sh recipes/tiny/full_sft_zero2_tp.yaml
  bash scripts/mg2hf.sh --help                               Megatron checkpoints to Hugging Face
EOF
  training_help
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe train recipes/qwen3_1p7b/full_sft_megatron.yaml "$@"
