#!/usr/bin/env bash
# Answer questions about databases over HTTP, with a page for people.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/serve_api.sh [RECIPE] [key=value ...]

Serves a model as an HTTP API (its own, and OpenAI's chat form) and as a page, whose address it prints when it is ready.
engine=vllm starts vLLM's server behind it, engine=openai takes one that runs already. Databases are read-only.
Without RECIPE: recipes/tiny/serve.yaml, the tiny model over the toy databases. The API is described at /openapi.json.

Examples:
  bash scripts/serve_api.sh
  bash scripts/serve_api.sh recipes/tiny/serve.yaml databases.mine=my.sqlite port=9000
  bash scripts/serve_api.sh recipes/qwen3_1p7b/serve.yaml databases.mine=my.sqlite host=0.0.0.0 api_keys=keys.txt
EOF
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe serve recipes/tiny/serve.yaml "$@"
