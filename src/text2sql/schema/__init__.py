"""A database's schema: read from SQLite, from Spider's tables.json or from DDL into one model, and rendered as text."""

from text2sql.schema.model import Column, ForeignKey, Schema, Table, quote
from text2sql.schema.render import STYLES_WITH_DATA, Samples, Style, read_samples, render, render_ddl
from text2sql.schema.sqlite import SchemaError, build_from_ddl, open_readonly, read_schema, schema_from_ddl
from text2sql.schema.tables_json import read_tables_json, write_tables_json

__all__ = [
    "STYLES_WITH_DATA",
    "Column",
    "ForeignKey",
    "Samples",
    "Schema",
    "SchemaError",
    "Style",
    "Table",
    "build_from_ddl",
    "open_readonly",
    "quote",
    "read_samples",
    "read_schema",
    "read_tables_json",
    "render",
    "render_ddl",
    "schema_from_ddl",
    "write_tables_json",
]
