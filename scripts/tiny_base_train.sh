#!/usr/bin/env bash
# Train the tiny base from random weights: corpora and tokenizer, four parts of training, and the shipped folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/tiny_base_train.sh [FOLDER]

Makes the corpora, tokenizer and untrained model (recipes/tiny/base/prepare.yaml), trains it in four parts
(pretrain.yaml, middle.yaml, final.yaml, terse.yaml) and writes the result to FOLDER (default: outputs/tiny/base; the
shipped model is models/tiny-base). About an hour on one CPU core. A part resumes where it was stopped, and is skipped
once it is done.
EOF
}

if wants_help "$@"; then usage; exit 0; fi
[ $# -le 1 ] || die "one folder at most; see --help"
folder="${1:-outputs/tiny/base}"
use_env train
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

run text2sql tiny-base prepare recipes/tiny/base/prepare.yaml
for part in pretrain middle final terse; do
  run text2sql train "recipes/tiny/base/$part.yaml"
done
run text2sql tiny-base ship outputs/tiny/base_terse "$folder"
