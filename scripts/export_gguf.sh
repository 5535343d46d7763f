#!/usr/bin/env bash
# Write a model as GGUF, for llama.cpp, Ollama and LM Studio.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/export_gguf.sh MODEL [FOLDER]

Writes a merged Qwen3 model (Hugging Face form) to FOLDER, by default outputs/gguf/NAME: NAME-F16.gguf, NAME-Q8_0.gguf (half the
size, almost the same answers), both with tokenizer and chat template, and a Modelfile for Ollama.

Examples:
  bash scripts/export_gguf.sh models/tiny-base
  bash scripts/export_gguf.sh outputs/qwen3_1p7b/lora_all_sft_merged outputs/gguf/sql
  cd outputs/gguf/sql && ollama create text2sql -f Modelfile && ollama run text2sql
  lms import outputs/gguf/sql/lora_all_sft_merged-Q8_0.gguf           (LM Studio)
EOF
}
wants_help "$@" && { usage; exit 0; }
[ $# -ge 1 ] && [ $# -le 2 ] || die "a model folder, and where to write; see --help"
use_env train
run text2sql gguf "$@"
