#!/usr/bin/env bash
# Fine-tune by a recipe with llamafactory-cli.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/qwen3_1p7B_train.sh [RECIPE] [key=value ...]

Checks the recipe against the machine, then trains with `llamafactory-cli train`. The recipe's header says what it needs.
Without RECIPE: recipes/qwen3_1p7b/lora_qv_sft.yaml. On a machine without a GPU take a recipe of recipes/tiny.

Examples:
  bash scripts/qwen3_1p7B_train.sh recipes/tiny/lora_qv_sft.yaml
  bash scripts/qwen3_1p7B_train.sh recipes/qwen3_1p7b/lora_all_sft.yaml learning_rate=5e-5 output_dir=outputs/try2

Several processes: each GPU gets one, and global_batch keeps the batch as it is.
  bash scripts/qwen3_1p7B_train.sh recipes/qwen3_1p7b/lora_qv_sft.yaml deepspeed=null       plain data parallel
  bash scripts/qwen3_1p7B_train.sh recipes/qwen3_1p7b/lora_qv_sft.yaml                      ZeRO-3
  bash scripts/qwen3_1p7B_train.sh recipes/qwen3_1p7b/full_sft.yaml                         ZeRO-2
  bash scripts/qwen3_1p7B_train.sh recipes/qwen3_1p7b/full_sft_zero2_tp.yaml                ZeRO-2 and tensor parallelism
  NPROC_PER_NODE=2 bash scripts/qwen3_1p7B_train.sh recipes/tiny/full_sft.yaml deepspeed=recipes/deepspeed/zero2.json
Two machines, each with its own NODE_RANK (Slurm: scripts/slurm_train.sbatch):
  NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 bash scripts/qwen3_1p7B_train.sh recipes/qwen3_1p7b/full_sft.yaml
EOF
  training_help
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe train recipes/qwen3_1p7b/lora_qv_sft.yaml "$@"
