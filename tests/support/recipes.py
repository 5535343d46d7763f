"""The repository's recipes as tests look at them: plain YAML, as a user reads it."""

from pathlib import Path

import yaml

from text2sql.recipe.batch import derive_accumulation

ROOT = Path(__file__).parents[2]
MEGATRON = sorted(ROOT.glob("recipes/*/*_megatron.yaml"))
"""Parsed by another program than the other training recipes: see tests/train/test_megatron_recipes.py."""


def engine(path: Path, processes: int = 1) -> dict:
    """A training recipe as LLaMA-Factory takes it, with accumulation in place of ``global_batch``."""
    return derive_accumulation(load(path), path, processes)


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
