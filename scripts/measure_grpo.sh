#!/usr/bin/env bash
# Measure what GRPO adds to a cold start on the toy databases, over several seeds.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/measure_grpo.sh [seeds=42,43,44] [key=value ...]

For every seed: fine-tunes a cold start (recipes/tiny/cold_start.yaml) and merges it, trains it with GRPO
(recipes/tiny/grpo_execution.yaml) and merges that, answers the toy test questions with both, and scores them. About twenty minutes
for a seed on two cores. Started again, it goes on where it stopped. The rows toy.grpo_start and toy.grpo_execution are added
to results/ledger.jsonl when all seeds are measured. Other key=value pairs go to GRPO. Then: text2sql report

Outputs: outputs/tiny/measured/grpo_start-SEED, outputs/tiny/measured/grpo_execution-SEED
EOF
}
wants_help "$@" && { usage; exit 0; }

seeds=42,43,44
measuring_arguments seeds "seed output_dir model_name_or_path ledger experiment" "$@"
bash scripts/setup.sh train
bash scripts/prepare_data.sh recipes/data/toy.yaml

merge() { # adapter, base, merged model
  bash scripts/merge_hf_lora.sh recipes/tiny/merge_lora.yaml "adapter_name_or_path=$1" "model_name_or_path=$2" "export_dir=$3"
}

for seed in ${seeds//,/ }; do
  start="$MEASURED/grpo_start-$seed" folder="$MEASURED/grpo_execution-$seed"
  bash scripts/qwen3_1p7B_train.sh recipes/tiny/cold_start.yaml "output_dir=$start" "seed=$seed"
  merge "$start" models/tiny-base "$start-merged"
  measure "$start-merged" "$start/eval" toy.grpo_start "$seed"
  NPROC_PER_NODE=2 bash scripts/grpo_train.sh recipes/tiny/grpo_execution.yaml "model_name_or_path=$start-merged" \
    "output_dir=$folder" "seed=$seed" ${overrides[@]+"${overrides[@]}"}
  merge "$folder" "$start-merged" "$folder-merged"
  measure "$folder-merged" "$folder/eval" toy.grpo_execution "$seed"
done
publish toy.grpo_start
publish toy.grpo_execution
