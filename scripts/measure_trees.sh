#!/usr/bin/env bash
# Measure what trees of revisions are good for on the toy databases: repair, reward model, choosing, DPO, over several seeds.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/measure_trees.sh [seeds=42,43,44] [questions=3600] [samples=16] [test=] [key=value ...]

For every seed: fine-tunes a start (recipes/tiny/lora_qv_sft.yaml) and merges it; grows trees without revisions, and teaches it to
revise with lessons from them (revise_sft.yaml); grows trees of both models over so many training questions; takes pairs;
trains a reward model and DPO; grows trees of the test questions for held-out pairs; and answers the test questions greedily,
with so many samples, by vote, by reward model, by both, and after a round of revision. Started again, it goes on where it
stopped. Rows are added to results/ledger.jsonl when all seeds are measured. test=N measures on N test questions only, to try
it out. Other key=value pairs go to every training. Then: text2sql report

Outputs: outputs/tiny/measured/trees-SEED
EOF
}
wants_help "$@" && { usage; exit 0; }

seeds=42,43,44 questions=3600 samples=16 test=
measuring_arguments "seeds questions samples test" "seed output_dir model_name_or_path dataset_dir ledger experiment" "$@"
use_env train
bash scripts/prepare_data.sh recipes/data/toy.yaml
limit=null
[ -z "$test" ] || limit="$test"

merged() { # adapter, base: the merged model is beside the adapter
  bash scripts/merge_hf_lora.sh recipes/tiny/merge_lora.yaml "adapter_name_or_path=$1" "model_name_or_path=$2" "export_dir=$1-merged"
}

trained() { # script, recipe, output, base, data
  bash "scripts/$1" "recipes/tiny/$2.yaml" "output_dir=$3" "model_name_or_path=$4" "dataset_dir=$5" "seed=$seed" ${overrides[@]+"${overrides[@]}"}
}

grown() { # name, model, key=value ...: trees in $at/NAME
  local name="$1" model="$2"
  shift 2
  bash scripts/build_revision_tree.sh recipes/tiny/tree.yaml "model_name_or_path=$model" "output_dir=$at/$name" "seed=$seed" "$@"
}

answered() { # model, file, key=value ...
  local model="$1" file="$2"
  shift 2
  bash scripts/infer_vllm.sh recipes/tiny/infer.yaml "model_name_or_path=$model" "output=$file" engine=transformers "limit=$limit" \
    "seed=$seed" batch_size=256 "$@"
}

scored() { # predictions, experiment
  bash scripts/evaluate_sql.sh recipes/tiny/evaluate.yaml "predictions=$1" "output_dir=$(dirname "$1")/score" "experiment=$2" \
    "seed=$seed" "limit=$limit" once=true "ledger=$MEASURED/ledger.jsonl"
}

for seed in ${seeds//,/ }; do
  at="$MEASURED/trees-$seed" start="$MEASURED/trees-$seed/start"
  trained qwen3_1p7B_train.sh lora_qv_sft "$start" models/tiny-base data
  merged "$start" models/tiny-base
  grown first "$start-merged" max_depth=0 "limit=$questions" "lessons.output_dir=$at/lessons"
  run text2sql tree lessons recipes/tiny/tree.yaml "model_name_or_path=$start-merged" "output_dir=$at/first" \
    "lessons.output_dir=$at/lessons" "seed=$seed"
  trained qwen3_1p7B_train.sh revise_sft "$at/revise" "$start-merged" "$at/lessons"
  merged "$at/revise" "$start-merged"
  reviser="$at/revise-merged"

  # Revisions of the model that was not taught to revise, and of the one that was.
  row=(profile=tiny "ledger=$MEASURED/ledger.jsonl")
  grown untaught "$start-merged" limit=200 experiment=toy.tree_untaught "${row[@]}"
  grown taught "$reviser" "limit=$questions" experiment=toy.tree "${row[@]}"
  grown test "$reviser" examples=data/prepared/toy/examples/test.jsonl "limit=$limit"
  for part in taught test; do
    share=0.2
    [ "$part" = taught ] || share=1.0
    run text2sql tree verify recipes/tiny/tree.yaml "output_dir=$at/$part"
    run text2sql tree pairs recipes/tiny/tree.yaml "output_dir=$at/$part" "pairs.output_dir=$at/$part/pairs" "pairs.held_out=$share"
  done

  trained reward_model_train.sh reward_model "$at/reward_model" "$start-merged" "$at/taught/pairs"
  run text2sql rm2hf recipes/tiny/rm2hf.yaml "checkpoint=$at/reward_model" "model_name_or_path=$start-merged" "output_dir=$at/reward_model-hf"
  [ -f "$at/scored/reward_report.json" ] || run text2sql tree score recipes/tiny/score_pairs.yaml "pairs=$at/test/pairs/ranking_val.jsonl" "reward_model=$at/reward_model-hf" \
    "output_dir=$at/scored" "seed=$seed" split=test experiment=toy.reward_model "ledger=$MEASURED/ledger.jsonl"

  answered "$start-merged" "$at/greedy/predictions.jsonl"
  answered "$start-merged" "$at/samples/predictions.jsonl" temperature=0.8 "n=$samples"
  chosen=("greedy=$at/greedy/predictions.jsonl" "predictions=[$at/samples/predictions.jsonl]" "limit=$limit" "seed=$seed"
    "reward_model=$at/reward_model-hf" choose=weighted)
  [ -f "$at/chosen/report.json" ] || bash scripts/select_sql.sh recipes/tiny/select.yaml "${chosen[@]}" "output_dir=$at/chosen" experiment=toy.select \
    "ledger=$MEASURED/ledger.jsonl"
  bash scripts/select_sql.sh recipes/tiny/select.yaml greedy=null "predictions=[$at/greedy/predictions.jsonl]" "limit=$limit" \
    "seed=$seed" "output_dir=$at/revised" "revise.model_name_or_path=$reviser" revise.engine=transformers revise.max_new_tokens=128
  scored "$at/revised/predictions.jsonl" toy.repair

  trained dpo_train.sh dpo "$at/dpo" "$start-merged" "$at/taught/pairs"
  merged "$at/dpo" "$start-merged"
  answered "$at/dpo-merged" "$at/dpo_greedy/predictions.jsonl"
  scored "$at/dpo_greedy/predictions.jsonl" toy.dpo
done

for experiment in toy.tree_untaught toy.tree toy.reward_model toy.repair toy.dpo toy.select.greedy toy.select.random_8 toy.select.vote_8 \
  toy.select.rm_best_of_8 toy.select.weighted_vote_8 toy.select.oracle_8; do
  publish "$experiment"
done
