"""A database's schema: read from SQLite, from Spider's tables.json or from DDL into one model, and rendered as text."""

from text2sql.schema.model import Column, ForeignKey, Schema, Table, quote, render_ddl
from text2sql.schema.sqlite import SchemaError, open_readonly, read_schema, schema_from_ddl

__all__ = ["Column", "ForeignKey", "Schema", "SchemaError", "Table"]
__all__ += ["open_readonly", "quote", "read_schema", "render_ddl", "schema_from_ddl"]
