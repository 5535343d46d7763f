"""Recipes, data, prompts, generation and evaluation for text-to-SQL with Qwen3.

Data flows one way: data -> records -> prompts -> training -> generate -> evaluate -> ledger.
"""

__version__ = "0.1.0"
