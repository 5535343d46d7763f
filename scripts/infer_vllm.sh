#!/usr/bin/env bash
# Answer a file of questions with a model.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/infer_vllm.sh [RECIPE] [key=value ...]

Writes one prediction a question (JSON lines); the recipe's keys say which model, questions and decoding. vLLM is installed
with everything else where there is a GPU, and by `bash scripts/setup.sh vllm` elsewhere. engine=auto takes transformers
where it is missing, engine=vllm says so and stops. data_parallel_size=auto puts a copy of the model on every GPU.
Without RECIPE: recipes/qwen3_1p7b/infer.yaml. Started again after it was stopped, it answers the questions left.

Examples:
  bash scripts/infer_vllm.sh recipes/tiny/infer.yaml
  bash scripts/infer_vllm.sh recipes/qwen3_1p7b/infer.yaml tensor_parallel_size=2 gpu_memory_utilization=0.6
EOF
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe infer recipes/qwen3_1p7b/infer.yaml "$@"
