#!/usr/bin/env bash
# Train the small embedder and reranker that retrieval uses on a CPU.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/rag_models_train.sh [RECIPE] [key=value ...]

Trains the embedder or the reranker of RECIPE; without RECIPE both of recipes/tiny, one after the other. Started again after it
was stopped, training goes on from the last checkpoint; a trained model is left as it is.

Outputs: outputs/tiny/rag_embedder, outputs/tiny/rag_reranker
EOF
}
wants_help "$@" && { usage; exit 0; }
if [[ "$*" == *.yaml* ]]; then
  text2sql_with_recipe "rag train" recipes/tiny/rag_embedder.yaml "$@"
else
  for kind in embedder reranker; do
    text2sql_with_recipe "rag train" "recipes/tiny/rag_$kind.yaml" "$@"
  done
fi
