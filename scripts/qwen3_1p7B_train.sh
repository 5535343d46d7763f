#!/usr/bin/env bash
# Fine-tune by a recipe with llamafactory-cli.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/qwen3_1p7B_train.sh [RECIPE] [key=value ...]

Checks the recipe against the machine, then trains with `llamafactory-cli train`. The recipe's header says what it needs.
Without RECIPE: recipes/qwen3_1p7b/lora_qv_sft.yaml. On a machine without a GPU take a recipe of recipes/tiny.
Started again after it was stopped or killed, it goes on from the last whole checkpoint; once finished it does nothing.

Examples:
  bash scripts/qwen3_1p7B_train.sh recipes/tiny/lora_qv_sft.yaml
  bash scripts/qwen3_1p7B_train.sh recipes/qwen3_1p7b/lora_all_sft.yaml learning_rate=5e-5 output_dir=outputs/try2

Environment variables:
  NPROC_PER_NODE               processes on this machine (default: its GPUs; 1 on a CPU)
  NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT    several machines that share this folder, as torchrun wants them
  CUDA_VISIBLE_DEVICES         which GPUs
EOF
}
wants_help "$@" && { usage; exit 0; }
recipe_and_overrides recipes/qwen3_1p7b/lora_qv_sft.yaml "$@"
use_env train
run python -m text2sql.train "$RECIPE" ${OVERRIDES[@]+"${OVERRIDES[@]}"}
