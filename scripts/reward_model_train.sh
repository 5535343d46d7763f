#!/usr/bin/env bash
# Train a reward model on preference pairs, by LLaMA-Factory's stage: rm.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/reward_model_train.sh [RECIPE] [key=value ...]

Checks recipe, model and pairs, then trains. Without RECIPE: recipes/qwen3_1p7b/reward_model.yaml; on a machine without a GPU take
recipes/tiny. The pairs come from trees: bash scripts/build_revision_tree.sh, then text2sql tree pairs.

Examples:
  bash scripts/reward_model_train.sh recipes/tiny/reward_model.yaml
  bash scripts/reward_model_train.sh recipes/tiny/reward_model.yaml learning_rate=1e-4 output_dir=outputs/try2
EOF
  training_help
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe train recipes/qwen3_1p7b/reward_model.yaml "$@"
