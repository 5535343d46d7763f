#!/usr/bin/env bash
# Train with GRPO by a recipe: LLaMA-Factory with a stage of ours put into it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/grpo_train.sh [RECIPE] [key=value ...]

Checks recipe, rewards, data and databases, then trains with `stage: grpo`: LLaMA-Factory's keys, TRL's GRPO keys, and
rewards by name. Without RECIPE: recipes/qwen3_1p7b/grpo_execution.yaml; on a machine without a GPU take recipes/tiny.
Started again after it was stopped or killed, it goes on from the last whole checkpoint; once finished it does nothing.

Examples:
  bash scripts/grpo_train.sh recipes/tiny/grpo_execution.yaml
  bash scripts/grpo_train.sh recipes/tiny/grpo_execution.yaml reward_funcs=[execution,length] output_dir=outputs/try2
  bash scripts/grpo_train.sh recipes/tiny/grpo_execution.yaml finetuning_type=full learning_rate=1e-4 output_dir=outputs/full

Rewards: python -m text2sql.rewards list

Environment variables:
  NPROC_PER_NODE               processes on this machine (default: its GPUs; 1 on a CPU)
  NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT    several machines that share this folder, as torchrun wants them
  CUDA_VISIBLE_DEVICES         which GPUs
EOF
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe train recipes/qwen3_1p7b/grpo_execution.yaml "$@"
