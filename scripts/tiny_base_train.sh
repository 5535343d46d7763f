#!/usr/bin/env bash
# Train the tiny base from nothing: corpus and tokenizer, four parts of training, and the folder that is shipped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/tiny_base_train.sh [FOLDER]

Makes the corpus, tokenizer and untrained model (recipes/tiny/base/prepare.yaml), trains it in four parts
(pretrain.yaml, middle.yaml, final.yaml, terse.yaml) and writes the result to FOLDER (default: outputs/tiny/base; the shipped model is
models/tiny-base). About an hour on one CPU core. Every part resumes where it was stopped and is skipped when done.
EOF
}

if wants_help "$@"; then usage; exit 0; fi
[ $# -le 1 ] || die "one folder at most; see --help"
folder="${1:-outputs/tiny/base}"
use_env train
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

run python -m text2sql.tiny_base recipes/tiny/base/prepare.yaml
run python -m text2sql.train recipes/tiny/base/pretrain.yaml
run python -m text2sql.train recipes/tiny/base/middle.yaml
run python -m text2sql.train recipes/tiny/base/final.yaml
run python -m text2sql.train recipes/tiny/base/terse.yaml
run python -m text2sql.tiny_base.ship outputs/tiny/base_terse "$folder"
