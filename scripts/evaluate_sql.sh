#!/usr/bin/env bash
# Score predicted SQL by executing it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/evaluate_sql.sh [RECIPE] [key=value ...]
       bash scripts/evaluate_sql.sh process|judge [RECIPE] [key=value ...]
       bash scripts/evaluate_sql.sh --gold FILE --pred FILE --db FOLDER [--table FILE] [--etype exec]

With a recipe: scores a predictions file, prints accuracy by hardness, and adds a row to the ledger.
Without RECIPE: recipes/qwen3_1p7b/evaluate.yaml.
process: process metrics (declared query types, thinking quality, self-assessment, issues), into evaluation_report.json.
judge: scores from 1 to 5 on four axes by a language model behind an OpenAI-compatible server, into the same report;
without RECIPE: recipes/qwen3_1p7b/judge.yaml. Started again after it was stopped, it continues.
With flags: the command line of the official Spider evaluator, run by test-suite-sql-eval/evaluation.py
(--help behind a flag shows its own help: `bash scripts/evaluate_sql.sh --gold --help`).

Examples:
  bash scripts/evaluate_sql.sh recipes/tiny/evaluate.yaml
  bash scripts/evaluate_sql.sh judge recipes/tiny/judge.yaml base_urls=[http://localhost:8000/v1] language=zh
  bash scripts/evaluate_sql.sh --gold dev_gold.sql --pred predictions.sql --db database --etype exec
EOF
}
case "${1:-}" in
  -h | --help) usage ;;
  --*)
    use_env train
    cd "$TEXT2SQL_CALLER_DIR"
    run python "$ROOT/test-suite-sql-eval/evaluation.py" "$@"
    ;;
  *)
    wants_help "$@" && { usage; exit 0; }
    case "${1:-}" in
      process) text2sql_with_recipe evaluate-process recipes/qwen3_1p7b/evaluate.yaml "${@:2}" ;;
      judge) text2sql_with_recipe judge recipes/qwen3_1p7b/judge.yaml "${@:2}" ;;
      *) text2sql_with_recipe evaluate recipes/qwen3_1p7b/evaluate.yaml "$@" ;;
    esac
    ;;
esac
