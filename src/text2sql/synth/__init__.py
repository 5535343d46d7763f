"""Questions with executable SQL for any SQLite database, from a grammar of patterns and phrasings.

The toy databases and the tiny base's corpora use :func:`generate` and its core patterns. A user's own database goes through
:mod:`text2sql.synth.own`, which has more patterns and stricter rules; the command offers both.
"""

from text2sql.synth.generate import generate

__all__ = ["generate"]
