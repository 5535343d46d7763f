#!/usr/bin/env bash
# Grow trees of revisions: a model's attempts at each question, and what it makes of them when it is told what they gave.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/build_revision_tree.sh [RECIPE] [key=value ...]

Samples attempts at every question, runs each distinct query once, and asks again about the wrong ones with what they gave,
level by level. Writes one tree a line. Without RECIPE: recipes/qwen3_1p7b/tree.yaml; without a GPU take recipes/tiny.
Started again after it was stopped or killed, it goes on where it was.

Examples:
  bash scripts/build_revision_tree.sh recipes/tiny/tree.yaml limit=100
  bash scripts/build_revision_tree.sh recipes/qwen3_1p7b/tree.yaml shard=1/2     and shard=2/2 on another machine
  bash scripts/build_revision_tree.sh engine=openai base_urls=[http://a:8000/v1,http://b:8000/v1] model_name_or_path=NAME

Then: text2sql tree verify|pairs|lessons RECIPE; text2sql tree merge FILE PART PART
EOF
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe "tree build" recipes/qwen3_1p7b/tree.yaml "$@"
