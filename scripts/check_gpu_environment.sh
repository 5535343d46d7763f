#!/usr/bin/env bash
# Run the recipes' environment for GPUs on a machine that has none.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/check_gpu_environment.sh [pytest arguments]

Installs requirements/train-cuda.txt (12 GB) and runs tests/gpu_profile in it, on the CPU: what the recipes of
recipes/qwen3_1p7b name is imported, the tiny base takes optimizer steps with liger's kernels (interpreted) and with
bitsandbytes' (4 and 8 bits), and every recipe's model is laid out at full size without its weights. Twelve CPU minutes
in two processes, once the environment is there. What only a GPU can show is listed in ARCHITECTURE.md.

The environment lies in ${XDG_CACHE_HOME:-~/.cache}/text2sql, in a folder named by the lock's hash; folders of former
locks can be deleted. On a machine with a GPU it is the ordinary .venv.

Examples:
  bash scripts/check_gpu_environment.sh
  bash scripts/check_gpu_environment.sh -k imports

Environment variables:
  XDG_CACHE_HOME     as above
  TEXT2SQL_SHARED    folder that may hold tokenizer_qwen, Qwen3's tokenizer, for the token counts of first batches
EOF
}
wants_help "$@" && { usage; exit 0; }
arguments=("$@")
if [ "$(device)" = cpu ]; then
  export TEXT2SQL_DEVICE=cuda
  ENV_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/text2sql/cuda-$(env_fingerprint train | cut -c1-16)"
  export TEXT2SQL_ENV_DIR="$ENV_DIR"
fi
use_env train
export CUDA_VISIBLE_DEVICES="" # the same check everywhere
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TORCHINDUCTOR_COMPILE_THREADS=1 MPLBACKEND=Agg HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}"
# Two files at a time, the longest first.
run pytest -c tests/gpu_profile/pytest.ini -n 2 --dist loadfile --durations 15 -rs --disable-warnings \
  ${arguments[@]+"${arguments[@]}"} tests/gpu_profile/check_liger.py tests/gpu_profile
