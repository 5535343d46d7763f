"""Questions with executable SQL for any SQLite database, from a grammar of patterns and phrasings.

The toy world, the tiny base's pretraining corpus and a user's own database all go through :func:`generate`.
"""

from text2sql.synth.generate import generate, write_questions

__all__ = ["generate", "write_questions"]
