"""fahmiaziz/text2sql-dataset: a question, ``CREATE TABLE`` text (often with rows to insert) and SQL, as Parquet or JSON."""

from text2sql.data.files import FileSource
from text2sql.data.options import FileOptions

Options = FileOptions


def open_source(options: FileOptions) -> FileSource:
    """The source of a recipe."""
    return FileSource(options, {"question": "prompt", "schema": "context", "sql": "answer"})
