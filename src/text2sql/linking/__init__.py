"""Schema linking: which tables and columns a question needs, so that a small model is shown those and few others."""
