#!/usr/bin/env bash
# Measure the toy results of the README: base, LoRA and full fine-tuning, over several seeds.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/measure_toy.sh [seeds=42,43,44] [recipes=lora_qv_sft,lora_all_sft,full_sft] [key=value ...]

Trains every recipe of recipes/tiny with every seed, merges, answers the toy test questions, scores them and adds the rows
to results/ledger.jsonl; the untuned base is measured first. About five minutes for a recipe and a seed on one core.
Started again, it continues where it stopped. Other key=value pairs go to training. Then: text2sql report

Outputs: outputs/tiny/measured/RECIPE-SEED
EOF
}
wants_help "$@" && { usage; exit 0; }

seeds=42,43,44 recipes=lora_qv_sft,lora_all_sft,full_sft overrides=()
for argument in "$@"; do
  case "$argument" in
    seeds=*) seeds="${argument#seeds=}" ;;
    recipes=*) recipes="${argument#recipes=}" ;;
    *=*) overrides+=("$argument") ;;
    *) die "$argument: unknown; see --help" ;;
  esac
done
bash scripts/setup.sh train
bash scripts/prepare_data.sh recipes/data/toy.yaml

measure models/tiny-base outputs/tiny/measured/base toy.base 0
for recipe in ${recipes//,/ }; do
  for seed in ${seeds//,/ }; do
    folder="outputs/tiny/measured/$recipe-$seed" model="outputs/tiny/measured/$recipe-$seed"
    bash scripts/qwen3_1p7B_train.sh "recipes/tiny/$recipe.yaml" "output_dir=$folder" "seed=$seed" ${overrides[@]+"${overrides[@]}"}
    if grep -q '^finetuning_type: lora' "recipes/tiny/$recipe.yaml"; then
      model="$folder-merged"
      bash scripts/merge_hf_lora.sh recipes/tiny/merge_lora.yaml "adapter_name_or_path=$folder" "export_dir=$model"
    fi
    measure "$model" "$folder/eval" "toy.$recipe" "$seed"
  done
done
