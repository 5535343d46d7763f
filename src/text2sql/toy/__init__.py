"""The toy world: small SQLite databases of our own, defined in YAML and filled by a seeded generator."""

from text2sql.toy.build import build_database, fill, schema_of
from text2sql.toy.load import load_database, load_world
from text2sql.toy.spec import ColumnSpec, DatabaseSpec, TableSpec

__all__ = [
    "ColumnSpec",
    "DatabaseSpec",
    "TableSpec",
    "build_database",
    "fill",
    "load_database",
    "load_world",
    "schema_of",
]
