#!/usr/bin/env bash
# Turn a data source into databases, examples and training files.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/prepare_data.sh [RECIPE] [key=value ...]

Prepares data by a recipe of recipes/data. Without RECIPE: recipes/data/toy.yaml, which needs nothing; Spider has to be
downloaded first (bash scripts/download_data.sh). A second run does nothing unless the recipe or its sources changed; a
killed run goes on. Paths start where you type, or else in the repository. What was left out, and why, is in
rejected.jsonl and on the report's page.

Examples:
  bash scripts/prepare_data.sh
  bash scripts/prepare_data.sh recipes/data/spider.yaml        # also bird, text2sql_dataset, alpaca, process ...
  bash scripts/prepare_data.sh recipes/data/rows.yaml files.train=[my.csv] schema=my.sqlite     # your own questions
EOF
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe data recipes/data/toy.yaml "$@"
