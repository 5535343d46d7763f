#!/usr/bin/env bash
# Choose one answer among several samples.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/select_sql.sh [RECIPE] [key=value ...]

Runs every distinct candidate once, lets those of equal result vote, and writes the chosen answers with their alternatives.
Prints how right the greedy answers, the vote and the best of n samples are. Without RECIPE: recipes/qwen3_1p7b/select.yaml.
Started again after it was stopped, it runs what is left.

Examples:
  bash scripts/select_sql.sh recipes/tiny/select.yaml
  bash scripts/select_sql.sh recipes/tiny/select.yaml repair=true instances=4
EOF
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe select recipes/qwen3_1p7b/select.yaml "$@"
