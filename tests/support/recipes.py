"""The repository's recipes as tests look at them: plain YAML, as a user reads it."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
MEGATRON = sorted(ROOT.glob("recipes/*/*_megatron.yaml"))
"""Parsed by another program than the other training recipes: see tests/train/test_megatron_recipes.py."""


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
