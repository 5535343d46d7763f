#!/usr/bin/env bash
# From a fresh clone to a fine-tuned, merged and evaluated text-to-SQL model.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/quickstart.sh [max_steps=N] [limit=N] [output=FOLDER] [base=FOLDER] [engine=transformers|vllm]

Takes a tiny model from models/tiny-base, lets it answer questions about databases it has never seen, fine-tunes it with
LoRA on questions about other databases, and shows how much better it got. Needs Python 3.11 or 3.12 and two CPU cores;
ten minutes and 3 GB of memory, and before that once a few minutes for the environment. A second run skips what is done.

It runs the same scripts, with the recipes of recipes/tiny, that do the same to Qwen3-1.7B with those of recipes/qwen3_1p7b.

  max_steps=N, limit=N    a shorter look: N training steps, the first N questions; written to outputs/quickstart_short
  output=FOLDER           where models and figures go (default: outputs/tiny)
  base=FOLDER             another base model than models/tiny-base
  engine=...              what generates (default: vLLM where `bash scripts/setup.sh vllm` was run, else transformers)
EOF
}
wants_help "$@" && { usage; exit 0; }

max_steps="" limit="" output="" base=models/tiny-base engine=auto
for argument in "$@"; do
  case "$argument" in
    max_steps=[1-9]* | limit=[1-9]*)
      [[ "${argument#*=}" =~ ^[0-9]+$ ]] || die "$argument: a whole number is needed"
      printf -v "${argument%%=*}" '%s' "${argument#*=}"
      ;;
    output=?*) output="${argument#output=}" ;;
    base=?*) base="$(absolute "${argument#base=}")" ;;
    engine=transformers | engine=vllm | engine=auto) engine="${argument#engine=}" ;;
    *) die "$argument: unknown; see --help" ;;
  esac
done
if [ -z "$output" ]; then
  output=outputs/tiny
  [ -z "$max_steps$limit" ] || output=outputs/quickstart_short
fi
[ -f "$base/config.json" ] || die "$base: no model there; the tiny base comes with the repository (git checkout models/tiny-base)"

examples=data/prepared/toy/examples/test.jsonl
results="$output/quickstart"
began=$SECONDS number=0 step_began=0

# Announce a step: what it does, and about how long it takes on two cores when it is not done yet.
step() {
  number=$((number + 1)) step_began=$SECONDS
  printf '\n[%d/8] %s (%s)\n' "$number" "$1" "$2" >&2
}
end_step() { note "[$number/8] done in $((SECONDS - step_began)) s, $((SECONDS - began)) s since the start"; }

answer() { # name, model
  bash scripts/infer_vllm.sh recipes/tiny/infer.yaml "model_name_or_path=$2" "examples=$examples" \
    "output=$results/$1/predictions.jsonl" "engine=$engine" ${limit:+"limit=$limit"}
}

score() { # name, experiment
  bash scripts/evaluate_sql.sh recipes/tiny/evaluate.yaml "examples=$examples" "predictions=$results/$1/predictions.jsonl" \
    "output_dir=$results/$1" "experiment=$2" "ledger=$results/ledger.jsonl" once=true ${limit:+"limit=$limit"}
}

step "Python environment" "one to five minutes, once"
bash scripts/setup.sh train
end_step

step "Toy data: 24 small databases, and questions with their SQL" "20 seconds"
bash scripts/prepare_data.sh recipes/data/toy.yaml
end_step

step "The base model answers questions about databases it has never seen" "1 minute"
answer base "$base"
end_step

step "Its answers are run and compared with the right ones" "10 seconds"
score base toy.base
end_step

step "LoRA fine-tuning of query and value projections, on other databases" "5 minutes"
bash scripts/qwen3_1p7B_train.sh recipes/tiny/lora_qv_sft.yaml "model_name_or_path=$base" "output_dir=$output/lora_qv_sft" \
  ${max_steps:+"max_steps=$max_steps" "save_steps=$max_steps" "eval_steps=$max_steps"}
end_step

step "The adapter is folded into the base: one ordinary model" "20 seconds"
bash scripts/merge_hf_lora.sh recipes/tiny/merge_lora.yaml "model_name_or_path=$base" \
  "adapter_name_or_path=$output/lora_qv_sft" "export_dir=$output/lora_qv_sft_merged"
end_step

step "The fine-tuned model answers the same questions" "1 minute"
answer lora_qv_sft "$output/lora_qv_sft_merged"
score lora_qv_sft toy.lora_qv_sft
end_step

step "Base and fine-tuned model side by side" "5 seconds"
use_env train
run text2sql report compare "base=$results/base/report.json" \
  "fine-tuned=$results/lora_qv_sft/report.json" --output "$results/model_performance_comparison.png"
end_step
note ""
note "fine-tuned model  $output/lora_qv_sft_merged"
note "plot              $results/model_performance_comparison.png"
note "training curve    $output/lora_qv_sft/training_loss.png"
note "next              recipes/qwen3_1p7b does the same to Qwen3-1.7B on GPUs; README.md says how"
