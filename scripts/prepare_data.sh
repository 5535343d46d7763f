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
  bash scripts/prepare_data.sh recipes/data/spider.yaml        # also spider_syn, bird, text2sql_dataset, alpaca, process
  bash scripts/prepare_data.sh recipes/data/rows.yaml files.train=[my.csv] schema=my.sqlite     # your own questions
EOF
}
# A path, or several in brackets, as the user meant them.
from_caller() {
  local item items list=""
  case "$1" in
    \[*\])
      IFS=, read -ra items <<<"${1:1:-1}"
      for item in ${items[@]+"${items[@]}"}; do list+="${list:+,}$(absolute "${item# }")"; done
      printf '[%s]\n' "$list"
      ;;
    *) absolute "$1" ;;
  esac
}
wants_help "$@" && { usage; exit 0; }
recipe_and_overrides recipes/data/toy.yaml "$@"
for place in ${OVERRIDES[@]+"${!OVERRIDES[@]}"}; do
  key="${OVERRIDES[$place]%%=*}"
  case "$key: $*" in
    files.*" folder="*) ;; # paths of files start in that folder
    files.* | folder:* | databases:* | schema:* | tables:* | described:* | tokenizer:* | decontaminate.against:*)
      OVERRIDES[place]="$key=$(from_caller "${OVERRIDES[$place]#*=}")"
      ;;
  esac
done
use_env train
run python -m text2sql.data "$RECIPE" ${OVERRIDES[@]+"${OVERRIDES[@]}"}
