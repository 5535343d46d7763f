#!/usr/bin/env bash
# Turn a training checkpoint of Megatron or DeepSpeed into a Hugging Face folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/mg2hf.sh [RECIPE] [key=value ...]

Converts checkpoint=FOLDER to output_dir=FOLDER and verifies the result: every tensor is split again and compared bit by
bit, and the model runs on a fixed batch. Neither Megatron nor a GPU is needed. Without RECIPE:
recipes/qwen3_1p7b/mg2hf.yaml. What checkpoint may be:
  Megatron             a folder with latest_checkpointed_iteration.txt (ckpt_format: legacy), tensor and pipeline parallel
  DeepSpeed ZeRO       checkpoint-N with global_stepN in it, put together by DeepSpeed's own zero_to_fp32
  DeepSpeed AutoTP     checkpoint-N, which holds a whole model already
  a run's folder       its final model; of a run that was stopped, the last checkpoint that was finished
The folder appears under its name only when it is verified; a second run does nothing.

Examples:
  bash scripts/mg2hf.sh recipes/tiny/mg2hf.yaml
  bash scripts/mg2hf.sh checkpoint=outputs/qwen3_1p7b/full_sft/checkpoint-50 output_dir=outputs/qwen3_1p7b/full_sft_hf
  bash scripts/mg2hf.sh reference=outputs/other_model     logits must agree with those of that model
EOF
}
wants_help "$@" && { usage; exit 0; }
text2sql_with_recipe mg2hf recipes/qwen3_1p7b/mg2hf.yaml "$@"
