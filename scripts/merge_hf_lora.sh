#!/usr/bin/env bash
# Fold a LoRA adapter into its base model.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/merge_hf_lora.sh [RECIPE] [key=value ...]

Checks that the adapter fits the base, then merges with `llamafactory-cli export` into one ordinary Hugging Face model.
Without RECIPE: recipes/qwen3_1p7b/merge_lora.yaml. The model appears in export_dir only when it is whole; a second run
does nothing unless adapter or base changed.

Examples:
  bash scripts/merge_hf_lora.sh recipes/tiny/merge_lora.yaml
  bash scripts/merge_hf_lora.sh recipes/tiny/merge_lora.yaml adapter_name_or_path=outputs/tiny/lora_all_sft \
    export_dir=outputs/tiny/lora_all_sft_merged
EOF
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe merge recipes/qwen3_1p7b/merge_lora.yaml "$@"
