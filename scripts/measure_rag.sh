#!/usr/bin/env bash
# Measure what retrieved examples bring to the tiny model on toy databases that training never saw.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/measure_rag.sh [seeds=42,43,44] [recipe=lora_all_sft] [key=value ...]

Trains embedder and reranker, indexes the toy training questions, and trains recipes/tiny/RECIPE.yaml with every seed twice:
without references (toy.rag.none) and with those of hybrid search. The second answers the test questions with
references of each kind: toy.rag.dense, hybrid, reranked_question, reranked_sql. Some twenty minutes for a seed on one core.
Started again, it continues where it stopped. Rows are added to results/ledger.jsonl when all seeds are measured. Other
key=value pairs go to training. Then: text2sql report

Outputs: outputs/tiny/measured/rag_KIND-SEED
EOF
}
wants_help "$@" && { usage; exit 0; }

seeds=42,43,44 recipe=lora_all_sft
measuring_arguments "seeds recipe" "seed output_dir dataset dataset_dir ledger experiment" "$@"
declare -A search=(
  [dense]="mode=dense" [hybrid]="mode=hybrid"
  [reranked_question]="mode=hybrid reranker=outputs/tiny/rag_reranker rerank_by=question"
  [reranked_sql]="mode=hybrid reranker=outputs/tiny/rag_reranker rerank_by=sql"
)
bash scripts/setup.sh train
bash scripts/prepare_data.sh recipes/data/toy.yaml
bash scripts/rag_models_train.sh
bash scripts/build_rag_index.sh recipes/tiny/rag.yaml
bash scripts/prepare_data.sh recipes/data/toy_rag.yaml
use_env train
for kind in "${!search[@]}"; do
  # shellcheck disable=SC2086 # several keys
  run text2sql rag add recipes/tiny/rag.yaml --questions data/prepared/toy/examples/test.jsonl \
    --output "$MEASURED/rag_questions/$kind.jsonl" ${search[$kind]}
done

# Train a seed on a data set, merge it if it is an adapter, and name the model.
trained() { # folder, seed, data set
  bash scripts/qwen3_1p7B_train.sh "recipes/tiny/$recipe.yaml" "output_dir=$1" "seed=$2" "dataset=$3_train" "eval_dataset=$3_val" \
    dataset_dir=data/prepared ${overrides[@]+"${overrides[@]}"} >&2
  if grep -q '^finetuning_type: lora' "recipes/tiny/$recipe.yaml"; then
    bash scripts/merge_hf_lora.sh recipes/tiny/merge_lora.yaml "adapter_name_or_path=$1" "export_dir=$1-merged" >&2
    printf '%s\n' "$1-merged"
  else
    printf '%s\n' "$1"
  fi
}

for seed in ${seeds//,/ }; do
  plain="$MEASURED/rag_none-$seed" taught="$MEASURED/rag_taught-$seed"
  model="$(trained "$plain" "$seed" toy)"
  measure "$model" "$plain/eval" toy.rag.none "$seed"
  model="$(trained "$taught" "$seed" toy_rag)"
  for kind in "${!search[@]}"; do
    measure "$model" "$taught/eval_$kind" "toy.rag.$kind" "$seed" "examples=$MEASURED/rag_questions/$kind.jsonl"
  done
done
for kind in none "${!search[@]}"; do
  publish "toy.rag.$kind"
done
