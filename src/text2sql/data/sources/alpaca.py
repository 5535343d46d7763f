"""Alpaca triples: the schema in ``instruction``, the question in ``input``, the SQL in ``output``.

Where ``input`` is empty, the instruction is a whole prompt, and its [SCHEMA] and [QUESTION] blocks are taken apart.
"""

import re
from typing import Any

from text2sql.data.files import FileSource
from text2sql.data.options import FileOptions
from text2sql.prompts import parse_completion

Options = FileOptions
_BLOCKS = re.compile(r"\\?\[SCHEMA\]\s*(.*?)\s*\\?\[QUESTION\]\s*(.*)", re.DOTALL | re.IGNORECASE)


def open_source(options: FileOptions) -> FileSource:
    """The source of a recipe."""
    return FileSource(options, {"question": "input", "schema": "instruction", "sql": "output"}, adapt)


def adapt(row: dict[str, Any]) -> dict[str, Any]:
    """The row with schema and question apart and the SQL bare."""
    texts = [row.get(name) for name in ("instruction", "input")]
    found = _BLOCKS.search("\n".join(text for text in texts if isinstance(text, str)))
    parts = {"instruction": found[1], "input": found[2]} if found else {}
    answer = row.get("output")
    return {**row, **parts, **({"output": parse_completion(answer)} if isinstance(answer, str) else {})}
