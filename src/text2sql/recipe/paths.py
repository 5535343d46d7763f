"""Paths that a user types start where the user is; paths inside recipes start in the repository.

Commands with a recipe run in the repository; TEXT2SQL_CALLER_DIR says where the user typed.
"""

import os
from collections.abc import Iterable
from pathlib import Path

INPUT_KEYS = frozenset(
    "adapter_name_or_path checkpoint database_root dataset_dir decontaminate.against deepspeed described examples folder input "
    "model_name_or_path predictions ref_model reference resume_from_checkpoint schema tables tokenizer".split()
)
"""Keys whose value is a file or folder that a command reads; ``files.*`` are as well."""


def from_caller(text: str) -> str:
    """A path, or several in brackets, as the user meant it: where they are if it is there, else in the repository."""
    if text.startswith("[") and text.endswith("]"):
        return f"[{','.join(from_caller(part.strip()) for part in text[1:-1].split(',') if part.strip())}]"
    caller = os.environ.get("TEXT2SQL_CALLER_DIR")
    there = Path(caller or "", text)
    return str(there) if caller and text and there.exists() else text


def overrides_from_caller(overrides: Iterable[str]) -> list[str]:
    """``key=value`` overrides with the paths of :data:`INPUT_KEYS` as :func:`from_caller` gives them."""
    given = list(overrides)
    in_folder = any(override.startswith("folder=") for override in given)  # which paths of files start in, then
    found = []
    for override in given:
        key, equals, value = override.partition("=")
        is_path = key in INPUT_KEYS or (key.startswith("files.") and not in_folder)
        found.append(f"{key}={from_caller(value)}" if equals and is_path else override)
    return found
