"""Recipes: one YAML file and ``key=value`` overrides, read the way llamafactory-cli reads them.

:mod:`.load` reads them; :mod:`.options` turns those of our own commands into typed options; :mod:`.keys`, :mod:`.datasets`
and :mod:`.megatron` know the keys of LLaMA-Factory that several rooms look at, without importing it.
"""

from text2sql.recipe.load import Recipe, load_recipe
from text2sql.recipe.options import STRICT, options_from

__all__ = ["STRICT", "Recipe", "load_recipe", "options_from"]
