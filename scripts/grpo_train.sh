#!/usr/bin/env bash
# Train with GRPO by a recipe: LLaMA-Factory with a stage of ours put into it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/grpo_train.sh [RECIPE] [key=value ...]

Checks recipe, rewards, data and databases, then trains with `stage: grpo`: LLaMA-Factory's keys, TRL's GRPO keys, and
rewards by name. Without RECIPE: recipes/qwen3_1p7b/grpo_execution.yaml; on a machine without a GPU take recipes/tiny.

Examples:
  bash scripts/grpo_train.sh recipes/tiny/grpo_execution.yaml
  bash scripts/grpo_train.sh recipes/tiny/grpo_execution.yaml reward_funcs=[execution,length] output_dir=outputs/try2
  bash scripts/grpo_train.sh recipes/tiny/grpo_execution.yaml finetuning_type=full learning_rate=1e-4 output_dir=outputs/full

Rewards: text2sql rewards list
EOF
  training_help
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe train recipes/qwen3_1p7b/grpo_execution.yaml "$@"
