"""Schema linking: which tables and columns a question needs, so that a small model is shown those and few others."""

from text2sql.linking.linker import Cut, Linker, LinkOptions, open_linker

__all__ = ["Cut", "LinkOptions", "Linker", "open_linker"]
