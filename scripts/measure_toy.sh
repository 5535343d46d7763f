#!/usr/bin/env bash
# Measure the toy results of the README: base, LoRA and full fine-tuning, over several seeds.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/measure_toy.sh [seeds=42,43,44] [recipes=lora_qv_sft,lora_all_sft,full_sft] [key=value ...]

Trains every recipe of recipes/tiny with every seed, merges, answers the toy test questions and scores them; the untuned base
is measured first. About five minutes for a recipe and a seed on one core. Started again, it continues where it stopped.
A recipe's rows are added to results/ledger.jsonl when all its seeds are measured. Other key=value pairs go to training.
Then: text2sql report

Outputs: outputs/tiny/measured/RECIPE-SEED
EOF
}
wants_help "$@" && { usage; exit 0; }

seeds=42,43,44 recipes=lora_qv_sft,lora_all_sft,full_sft
measuring_arguments "seeds recipes" "seed output_dir ledger experiment" "$@"
bash scripts/setup.sh train
bash scripts/prepare_data.sh recipes/data/toy.yaml

measure models/tiny-base "$MEASURED/base" toy.base 0
publish toy.base
for recipe in ${recipes//,/ }; do
  for seed in ${seeds//,/ }; do
    folder="$MEASURED/$recipe-$seed" model="$MEASURED/$recipe-$seed"
    bash scripts/qwen3_1p7B_train.sh "recipes/tiny/$recipe.yaml" "output_dir=$folder" "seed=$seed" ${overrides[@]+"${overrides[@]}"}
    if grep -q '^finetuning_type: lora' "recipes/tiny/$recipe.yaml"; then
      model="$folder-merged"
      bash scripts/merge_hf_lora.sh recipes/tiny/merge_lora.yaml "adapter_name_or_path=$folder" "export_dir=$model"
    fi
    measure "$model" "$folder/eval" "toy.$recipe" "$seed"
  done
  publish "toy.$recipe"
done
