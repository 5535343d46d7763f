#!/usr/bin/env bash
# Everything that continuous integration checks.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/test.sh [pytest arguments]

Makes both environments if they are missing, then runs ruff, mypy, the import contracts and all tests, the slow ones (which train and serve
small models) included: fifteen to twenty minutes on two cores. Arguments go to pytest.

Examples:
  bash scripts/test.sh
  bash scripts/test.sh -m "not slow"
  bash scripts/test.sh tests/test_prompts.py -k chinese
EOF
}
wants_help "$@" && { usage; exit 0; }
arguments=()
for argument in "$@"; do
  case "$argument" in -*) arguments+=("$argument") ;; *) arguments+=("$(absolute "$argument")") ;; esac
done
bash scripts/setup.sh train vllm
use_env train
# One thread a process: tests run side by side, and threads that wait for each other's cores are slower than one.
unset TEXT2SQL_CALLER_DIR # the tests have users of their own
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" MPLBACKEND=Agg HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}"
run ruff check .
run ruff format --check .
run mypy
run lint-imports
run pytest -n "${TEXT2SQL_TEST_PROCESSES:-2}" --dist loadfile --durations 15 ${arguments[@]+"${arguments[@]}"}
