#!/usr/bin/env bash
# Train a recipe with every combination of several values of its keys, and rank the runs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/sweep.sh [RECIPE] key=a,b,... [key=value ...]

Trains the recipe once for each combination of the values given with commas, one run after another, on all GPUs. Every run has
a folder in output_dir, named after its values. At the end a table ranks the runs by the recipe's metric_for_best_model, best
first; it is also written to output_dir/sweep.csv and sweep.json. Finished runs are left alone, so more values can be added.
Without RECIPE: recipes/qwen3_1p7b/lora_all_sft.yaml.

A value that is a list stands in brackets: lora_target=all,[q_proj,v_proj]

Examples:
  bash scripts/sweep.sh recipes/tiny/lora_all_sft.yaml learning_rate=1e-3,2e-3,4e-3 output_dir=outputs/tiny/rates
  bash scripts/sweep.sh recipes/qwen3_1p7b/lora_all_sft.yaml learning_rate=5e-5,1e-4,2e-4 seed=1,2
EOF
  training_help
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe sweep recipes/qwen3_1p7b/lora_all_sft.yaml "$@"
