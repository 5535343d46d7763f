#!/usr/bin/env bash
# Make the Python environments from the lock files.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/setup.sh [train] [vllm]

Makes .venv (train: data, training, retrieval, evaluation; the default) and .venv-vllm (vllm: batch inference and the
server) from the pinned versions in requirements/. With CUDA builds both are one: .venv trains and has vLLM. Finished
environments are left alone; one that was interrupted, or whose lock file changed, is made again from nothing. Other
scripts call this when they need an environment.

Needs Python 3.11 or 3.12, bash, and a package index that pip can reach. On a machine with an NVIDIA GPU it takes the
CUDA builds, otherwise the CPU builds.

Disk and time on a CPU machine: train 2.5 GB, vllm 2.7 GB, one to five minutes each; with CUDA builds 12 GB.

Environment variables:
  TEXT2SQL_ENV_DIR   folder that holds .venv and .venv-vllm (default: the repository)
  TEXT2SQL_PYTHON    the Python to make them with (default: python3.11, python3.12 or python3, the first that fits)
  TEXT2SQL_DEVICE    cpu or cuda (default: cuda if nvidia-smi lists a GPU)
  TEXT2SQL_TORCH     requirement for torch on CPU machines (default: the lock's version)
EOF
}

fitting() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; }

find_python() {
  local candidate
  if [ -n "${TEXT2SQL_PYTHON:-}" ]; then
    fitting "$TEXT2SQL_PYTHON" || die "TEXT2SQL_PYTHON=$TEXT2SQL_PYTHON is not Python 3.11 or 3.12"
    printf '%s\n' "$TEXT2SQL_PYTHON"
    return
  fi
  for candidate in python3.11 python3.12 python3 python; do
    if fitting "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  die "Python 3.11 or 3.12 is needed, and none was found ($(python3 -V 2>&1 || true)); install one or set TEXT2SQL_PYTHON"
}

free_mb() { df -Pm "$1" | awk 'NR == 2 {print $4}'; }

# An installation failed: say why in one line. $1: the environment's Python.
explain_failure() {
  local python="$1" probe
  [ "$(free_mb "$ENV_DIR")" -ge 300 ] || die "the disk of $ENV_DIR is full; free some space and start again"
  [ "$(free_mb "${TMPDIR:-/tmp}")" -ge 300 ] || die "the disk of ${TMPDIR:-/tmp} is full; free some space or set TMPDIR"
  probe="$(mktemp -d)"
  if ! "$python" -m pip download -q --no-deps --no-cache-dir --retries 0 --dest "$probe" six >/dev/null 2>&1; then
    rm -rf "$probe"
    die "no package index can be reached; connect to the network (or set pip's index-url or proxy) and start again"
  fi
  rm -rf "$probe"
  die "installing failed; the reason is above. Starting again makes the environment from nothing"
}

# torch comes first and alone on CPU machines: the index's own build brings gigabytes of CUDA with it.
install_cpu_torch() {
  local env="$1" kind="$2" torch
  torch="${TEXT2SQL_TORCH:-$(grep -E '^torch==' "requirements/$kind-cpu.txt")}"
  "$env/bin/python" -m pip install -q --no-deps "$torch+cpu" 2>/dev/null && return
  note "  no CPU build of $torch in pip's sources; asking PyTorch's own index"
  "$env/bin/uv" pip install -q --python "$env/bin/python" --torch-backend cpu --no-deps "$torch" 2>/dev/null && return
  note "  that cannot be reached; taking whichever build pip finds (this may be large)"
  "$env/bin/python" -m pip install "$torch" || explain_failure "$env/bin/python"
}

# Distributions that stand in for ones which do not exist for CPUs; built from a copy, so that the tree stays clean.
install_stand_ins() {
  local env="$1" copy name
  shift
  copy="$(mktemp -d)"
  for name in "$@"; do
    cp -R "requirements/stubs/$name" "$copy/$name"
    "$env/bin/uv" pip install -q --python "$env/bin/python" --no-deps --no-build-isolation "$copy/$name" ||
      explain_failure "$env/bin/python"
  done
  rm -rf "$copy"
}

link_checkout() {
  "$1/bin/uv" pip install -q --python "$1/bin/python" --no-deps --no-build-isolation -e . -e ./test-suite-sql-eval ||
    explain_failure "$1/bin/python"
}

make_env() {
  local kind="$1" env="$2" device python needed quiet=()
  device="$(device)"
  python="$(find_python)"
  needed=4000
  [ "$device" = cpu ] || needed=13000
  [ "$(free_mb "$ENV_DIR")" -ge "$needed" ] ||
    die "$ENV_DIR has $(free_mb "$ENV_DIR") MB free; the $kind environment needs $needed MB (TEXT2SQL_ENV_DIR moves it, XDG_CACHE_HOME that of the check)"
  if [ -e "$env" ]; then
    [ -f "$env/pyvenv.cfg" ] || [ -f "$env/.text2sql-making" ] || die "$env exists and is not a Python environment; move it away"
    note "  removing the unfinished or outdated $env"
    rm -rf "$env"
  fi
  mkdir -p "$env"
  : >"$env/.text2sql-making"
  note "[1/4] $env with $("$python" -V) ($device builds)"
  "$python" -m venv "$env" || die "$python cannot make environments; install its venv module (Debian: python3-venv)"
  "$env/bin/python" -m pip install -q "$(grep -E '^uv==' "requirements/$kind-$device.txt")" || explain_failure "$env/bin/python"
  use_pip_settings_for_uv "$env/bin/python"
  if [ "$device" = cpu ]; then
    note "[2/4] torch for CPUs (about 200 MB)"
    install_cpu_torch "$env" "$kind"
  else
    note "[2/4] torch for CUDA comes with the rest"
  fi
  note "[3/4] $(grep -c == "requirements/$kind-$device.txt") pinned packages (one to five minutes when nothing is cached)"
  [ -t 2 ] || quiet=(-q)
  "$env/bin/uv" pip install ${quiet[@]+"${quiet[@]}"} --python "$env/bin/python" --no-deps -r "requirements/$kind-$device.txt" ||
    explain_failure "$env/bin/python"
  note "[4/4] this repository's own packages"
  case "$kind-$device" in
    train-cpu) install_stand_ins "$env" torchaudio torchvision ;;
    vllm-cpu) install_stand_ins "$env" vllm ;;
  esac
  rm "$env/.text2sql-making"
}

setup_one() {
  local kind="$1" env stamp fingerprint started=$SECONDS
  env="$(env_path "$kind")" stamp="$env/.text2sql-lock" fingerprint="$(env_fingerprint "$kind")"
  if env_is_ready "$kind"; then
    note "$kind environment: ready ($env)"
    return
  fi
  note "$kind environment: making $env"
  if [ ! -f "$stamp" ] || [ "$(head -n 1 "$stamp")" != "$fingerprint" ]; then
    make_env "$kind" "$env"
  fi
  link_checkout "$env"
  env_stamp "$kind" >"$stamp.partial"
  mv "$stamp.partial" "$stamp"
  note "$kind environment: ready after $((SECONDS - started)) s"
}

wants_help "$@" && { usage; exit 0; }
kinds=("$@")
[ $# -gt 0 ] || kinds=(train)
for index in "${!kinds[@]}"; do kinds[index]="$(env_kind "${kinds[index]}")"; done
mkdir -p "$ENV_DIR" || die "$ENV_DIR: cannot be made; set TEXT2SQL_ENV_DIR to a folder you can write to"
exec 9<"$ENV_DIR"
if ! flock -n 9; then
  note "another setup is at work in $ENV_DIR; waiting for it"
  flock 9
fi
for kind in "${kinds[@]}"; do setup_one "$kind"; done
