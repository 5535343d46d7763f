"""Reads the schema that a prompt shows; rewards and issue rules see that text, not the database."""

from functools import lru_cache

from text2sql.schema import Schema, SchemaError, schema_from_ddl


@lru_cache(maxsize=4096)
def parse_ddl(text: str) -> Schema:
    """The tables of a DDL text; no tables if it cannot be read, so that rules which need a schema find nothing."""
    try:
        return schema_from_ddl(text)
    except SchemaError:
        return Schema(())
