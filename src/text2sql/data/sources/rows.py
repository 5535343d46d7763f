"""A user's own table: CSV, JSON, JSON lines or Parquet with a column for the question and one for the SQL."""

from text2sql.data.files import FileSource
from text2sql.data.options import FileOptions

Options = FileOptions


def open_source(options: FileOptions) -> FileSource:
    """The source of a recipe; ``columns`` of the recipe override the usual names."""
    usual = ("question", "sql", "db_id", "schema", "evidence", "difficulty", "reasoning", "kind", "rejected")
    return FileSource(options, {name: name for name in usual})
