#!/usr/bin/env bash
# Index solved examples, which prompts can then show.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/build_rag_index.sh [RECIPE] [key=value ...]

Embeds the prepared examples that RECIPE names and stores them in Milvus: Milvus Lite in a folder, or a server by uri.
Without RECIPE: recipes/qwen3_1p7b/rag.yaml. Started again after it was stopped, it indexes what is left.

Examples:
  bash scripts/build_rag_index.sh recipes/tiny/rag.yaml
  bash scripts/build_rag_index.sh recipes/qwen3_1p7b/rag.yaml uri=http://localhost:19530
  text2sql rag search "How many singers are there?" --recipe recipes/tiny/rag.yaml
EOF
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe "rag build" recipes/qwen3_1p7b/rag.yaml "$@"
