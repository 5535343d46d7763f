#!/usr/bin/env bash
# Measure a model on every test set that is there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/benchmark.sh [MODEL] [RECIPE] [key=value ...]

Answers Spider dev, test, Syn, DK and Realistic and BIRD dev with one model, greedy and by a vote, and scores the answers by
each protocol: execution accuracy, test suite, soft F1, R-VES. Sets whose files are not there are named and left out. Prints a
table and writes a page beside published figures. Started again after it was stopped, it goes on.
MODEL is a folder (or, with engine=openai, a served name); its figures go to outputs/PROFILE/benchmark/NAME_OF_MODEL.
Without RECIPE: recipes/qwen3_1p7b/benchmark.yaml.

Examples:
  bash scripts/benchmark.sh outputs/qwen3_1p7b/full_sft
  bash scripts/benchmark.sh recipes/tiny/benchmark.yaml only=[toy]
  bash scripts/benchmark.sh outputs/qwen3_1p7b/full_sft against=outputs/qwen3_1p7b/benchmark/lora_all_sft
EOF
}
wants_help "$@" && { usage; exit 0; }

model="" recipe=recipes/qwen3_1p7b/benchmark.yaml rest=()
for argument in "$@"; do
  case "$argument" in
    *=*) rest+=("$argument") ;;
    *.yaml | *.yml) recipe="$argument" ;;
    *)
      [ -z "$model" ] || die "one model at a time, not $model and $argument"
      model="${argument%/}"
      ;;
  esac
done
if [ -n "$model" ]; then
  folder="$ROOT/outputs/$(basename "$(dirname "$recipe")")/benchmark/$(basename "$model")"
  rest=("model_name_or_path=$model" "output_dir=$folder" ${rest[@]+"${rest[@]}"})
fi
text2sql_with_recipe benchmark "$recipe" ${rest[@]+"${rest[@]}"}
