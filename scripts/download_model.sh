#!/usr/bin/env bash
# Fetch a base model from the Hugging Face hub or ModelScope.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/download_model.sh [NAME] [FOLDER] [hub=huggingface|modelscope]

Fetches a model, by default Qwen/Qwen3-1.7B (4 GB) into models/Qwen3-1.7B. Started again after it broke off, it goes on
where it stopped. hub=modelscope takes it from ModelScope.

Example:
  bash scripts/download_model.sh Qwen/Qwen3-0.6B models/Qwen3-0.6B

Environment variables:
  HF_TOKEN, HF_ENDPOINT, MODELSCOPE_API_TOKEN    as the two hubs' own tools read them
EOF
}
wants_help "$@" && { usage; exit 0; }
name=Qwen/Qwen3-1.7B folder="" hub=huggingface
positional=()
for argument in "$@"; do
  case "$argument" in
    hub=huggingface | hub=modelscope) hub="${argument#hub=}" ;;
    -* | *=*) die "$argument: unknown; see --help" ;;
    *) positional+=("$argument") ;;
  esac
done
[ ${#positional[@]} -le 2 ] || die "a name and a folder, no more; see --help"
name="${positional[0]:-$name}"
folder="${positional[1]:-models/${name##*/}}"
use_env train
run text2sql fetch model "$name" "$folder" "$hub"
note "$folder: ready"
