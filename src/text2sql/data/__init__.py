"""Data preparation: from a source (the toy databases, a benchmark, a user's file) to examples and training files."""
