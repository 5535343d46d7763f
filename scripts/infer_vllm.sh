#!/usr/bin/env bash
# Answer a file of questions with a model.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/infer_vllm.sh [RECIPE] [key=value ...]

Writes one prediction a question (JSON lines). Uses vLLM where its environment is installed
(`bash scripts/setup.sh vllm`), otherwise transformers; the recipe's keys say which model, questions and decoding.
Without RECIPE: recipes/qwen3_1p7b/infer.yaml. Started again after it was stopped, it answers the questions left.

Examples:
  bash scripts/infer_vllm.sh recipes/tiny/infer.yaml
EOF
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe infer recipes/qwen3_1p7b/infer.yaml "$@"
