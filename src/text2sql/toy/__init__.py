"""The toy databases: small SQLite databases of our own, described in YAML and filled by a seeded generator."""

from text2sql.toy.build import build_database
from text2sql.toy.spec import DatabaseSpec, load_specs

__all__ = ["DatabaseSpec", "build_database", "load_specs"]
