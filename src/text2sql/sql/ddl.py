"""A schema's DDL text, as prompts show it, read once: rewards and rules see the prompt's schema, not the database."""

from functools import lru_cache

from text2sql.schema import Schema, SchemaError, schema_from_ddl


@lru_cache(maxsize=4096)
def parse_ddl(text: str) -> Schema:
    """The tables of a DDL text; none where it cannot be read, so that rules which need a schema stay silent."""
    try:
        return schema_from_ddl(text)
    except SchemaError:
        return Schema(())
