"""Recipes: one YAML file and ``key=value`` overrides, read the way llamafactory-cli reads them.

:mod:`.load` reads them, and turns those of our own commands into typed options; :mod:`.keys` and :mod:`.megatron` know the
keys of LLaMA-Factory that several rooms look at, without importing it.
"""

from text2sql.recipe.load import STRICT, Recipe, load_recipe, options_from

__all__ = ["STRICT", "Recipe", "load_recipe", "options_from"]
