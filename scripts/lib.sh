# Shared by all scripts: where the repository is, how messages look, and which Python runs.
# A script sources this first; it is then in the repository root, and TEXT2SQL_CALLER_DIR is where the user typed.

export TEXT2SQL_CALLER_DIR="$PWD"
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"
ENV_DIR="${TEXT2SQL_ENV_DIR:-$ROOT}"

note() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 2; }

# Print a command, then run it.
run() {
  printf '+ %s\n' "$(printf '%q ' "$@" | sed 's/ $//')" >&2
  "$@"
}

# True when any argument asks for help.
wants_help() {
  local argument
  for argument in "$@"; do
    case "$argument" in -h | --help) return 0 ;; esac
  done
  return 1
}

# What the --help of every training script ends with.
training_help() {
  cat <<'EOF'

Started again after it was stopped or killed, training goes on from the last whole checkpoint; once finished it does nothing.
Every start states the layout: data x tensor x pipeline parallel, ZeRO stage, optimizer, global batch.

Environment variables:
  NPROC_PER_NODE               processes on this machine (default: its GPUs; on a CPU as many as share a layer, else 1)
  NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT    number of machines, which share this folder; this one's number from 0; where
                               machine 0 listens (port: 29500)
  CUDA_VISIBLE_DEVICES         which GPUs
EOF
}

# A path as the user meant it: relative to where they are if it is there, else relative to the repository root.
absolute() {
  case "$1" in
    /*) printf '%s\n' "$1" ;;
    *) if [ -e "$TEXT2SQL_CALLER_DIR/$1" ]; then printf '%s\n' "$TEXT2SQL_CALLER_DIR/$1"; else printf '%s\n' "$1"; fi ;;
  esac
}

# Run `text2sql COMMAND` (one word or two) with a script's arguments, the recipe in front wherever it stands; without one, DEFAULT.
# Paths are resolved by text2sql: from where the user typed, else from the repository.
text2sql_with_recipe() { # COMMAND DEFAULT ARGUMENTS...
  local command="$1" recipe="$2" argument rest=() found=""
  shift 2
  for argument in "$@"; do
    case "$argument" in
      -* | *=*) rest+=("$argument") ;;
      *)
        [ -z "$found" ] || die "one recipe at a time, not $found and $argument"
        found="$argument"
        ;;
    esac
  done
  use_env train
  # shellcheck disable=SC2086 # a command may be two words
  run text2sql $command "${found:-$recipe}" ${rest[@]+"${rest[@]}"}
}

# cpu or cuda; TEXT2SQL_DEVICE decides, else whether an NVIDIA driver answers.
device() {
  if [ -n "${TEXT2SQL_DEVICE:-}" ]; then
    case "$TEXT2SQL_DEVICE" in
      cpu | cuda) printf '%s\n' "$TEXT2SQL_DEVICE" ;;
      *) die "TEXT2SQL_DEVICE is cpu or cuda, not $TEXT2SQL_DEVICE" ;;
    esac
  elif command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then
    printf 'cuda\n'
  else
    printf 'cpu\n'
  fi
}

# Which environment serves a purpose: with CUDA builds one trains and generates, on CPUs vLLM needs its own.
env_kind() {
  local device
  device="$(device)" || exit
  case "$1-$device" in
    train-cpu | train-cuda | vllm-cuda) printf 'train\n' ;;
    vllm-cpu) printf 'vllm\n' ;;
    *) die "$1: no such environment; train or vllm" ;;
  esac
}

# The folder of an environment: .venv, and .venv-vllm for vLLM on CPUs.
env_path() {
  local kind
  kind="$(env_kind "$1")" || exit
  case "$kind" in
    train) printf '%s\n' "$ENV_DIR/.venv" ;;
    vllm) printf '%s\n' "$ENV_DIR/.venv-vllm" ;;
  esac
}

# What an environment is made from, as one hash: a changed lock or stand-in means a new environment.
env_fingerprint() {
  local name
  name="$(env_kind "$1")-$(device)"
  {
    printf '%s\n' "$name"
    cat "requirements/$name.txt"
    if [[ "$name" == *-cpu ]]; then cat requirements/stubs/*/*.*; fi
  } | sha256sum | cut -d' ' -f1
}

# What a whole environment's stamp says: its fingerprint, and the checkout whose packages and commands are linked into it.
env_stamp() {
  env_fingerprint "$1"
  printf '%s %s\n' "$(cat pyproject.toml test-suite-sql-eval/pyproject.toml | sha256sum | cut -c1-16)" "$ROOT"
}

# The stamp is written last, so an environment that has the right one is whole.
env_is_ready() {
  local stamp
  stamp="$(env_path "$1")/.text2sql-lock"
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(env_stamp "$1")" ]
}

# Make sure an environment exists, and run its programs from here on.
use_env() {
  env_is_ready "$1" || bash "$ROOT/scripts/setup.sh" "$1"
  PATH="$(env_path "$1")/bin:$PATH"
  # This checkout's code, also where environments are shared by several.
  export PATH PYTHONPATH="$ROOT/src:$ROOT/test-suite-sql-eval${PYTHONPATH:+:$PYTHONPATH}"
  export TEXT2SQL_ENV_DIR="$ENV_DIR" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM:-false}"
  # Small models: threads that spin for a core which others use are many times slower than one thread.
  if [ "$(device)" = cpu ]; then export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"; fi
}

# uv does not read pip's settings; hand over what a machine or a user has set there (mirrors, wheel folders).
use_pip_settings_for_uv() {
  local python="$1" key variable value
  for key in index-url:UV_DEFAULT_INDEX find-links:UV_FIND_LINKS; do
    variable="${key##*:}"
    value="$("$python" -m pip config list 2>/dev/null | sed -nE "s/^.*\.${key%%:*}='(.*)'\$/\1/p" | head -n 1)"
    if [ -n "$value" ] && [ -z "${!variable:-}" ]; then
      export "$variable=${value// /,}"
    fi
  done
}

# What measuring scripts share: measurements are collected in MEASURED and reach the ledger when every seed is there.
MEASURED=outputs/tiny/measured

# Take arguments of a measuring script: VARIABLE=value sets one of the named variables, other key=value pairs go to training.
measuring_arguments() { # "VARIABLE ..." "KEYS THAT THE SCRIPT SETS ..." ARGUMENTS...
  local variables="$1" taken="$2" argument key
  shift 2
  overrides=()
  for argument in "$@"; do
    key="${argument%%=*}"
    [[ "$argument" == *=* ]] || die "$argument: unknown; see --help"
    case " $variables " in *" $key "*) printf -v "$key" '%s' "${argument#*=}"; continue ;; esac
    case " $taken " in *" $key "*) die "$key: this script sets it itself; it takes ${variables// /=, }=" ;; esac
    overrides+=("$argument")
  done
}

# Answer the toy test questions and score them, with one row however often it is started.
measure() { # model, folder, experiment, seed, further keys of infer.yaml; both questions as in training and of held-out wording
  local split folder
  for split in test test_heldout; do
    folder="$2${split#test}"
    bash scripts/infer_vllm.sh recipes/tiny/infer.yaml "model_name_or_path=$1" "examples=data/prepared/toy/examples/$split.jsonl" \
      "output=$folder/predictions.jsonl" engine=transformers "${@:5}"
    bash scripts/evaluate_sql.sh recipes/tiny/evaluate.yaml "examples=data/prepared/toy/examples/$split.jsonl" \
      "output_dir=$folder" "experiment=$3" "seed=$4" once=true "ledger=$MEASURED/ledger.jsonl"
  done
}

# Every seed of an experiment is measured: its rows go to results/ledger.jsonl.
publish() { # experiment
  use_env train
  run text2sql report add "$MEASURED/ledger.jsonl" "$1"
}
