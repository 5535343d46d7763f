"""``python -m text2sql.tiny_base.ship CHECKPOINT FOLDER``: the trained tiny base as it is shipped, in bfloat16.

Half the bytes of float32; the file stays small enough for the repository.
"""

import logging
import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from text2sql.errors import UserError, run_command

logger = logging.getLogger("text2sql.tiny_base.ship")
KEPT = "README.md"


def ship(checkpoint: Path, folder: Path) -> None:
    """Replace ``folder`` by the checkpoint's model and tokenizer; the model card in it stays.

    Raises:
        UserError: the checkpoint is not a whole model.
    """
    if not (checkpoint / "model.safetensors").is_file():
        raise UserError(f"{checkpoint}: no model.safetensors in it; train first (bash scripts/tiny_base_train.sh)")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16)
    model.config.use_cache = True
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side="left")
    # Greedy, and nothing that a decoding recipe would have to undo.
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=model.config.eos_token_id, pad_token_id=model.config.pad_token_id
    )
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if (folder / KEPT).is_file():
        shutil.copy2(folder / KEPT, partial / KEPT)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors writes files that only their owner may read
    size = sum(file.stat().st_size for file in folder.iterdir())
    logger.info("%s: %.1f MB", folder, size / 1e6)


def main() -> None:
    if len(sys.argv) != 3:
        raise UserError("usage: python -m text2sql.tiny_base.ship CHECKPOINT FOLDER")
    ship(Path(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    run_command(main)
