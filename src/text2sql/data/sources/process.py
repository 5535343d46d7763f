"""The process reward's cold-start format: ``query``, ``response`` (``<think>..</think><answer>..</answer>``), ``type``.

Its rows name no database: give the one they ask about as ``schema``.
"""

from typing import Any

from text2sql.data.files import FileSource
from text2sql.data.options import FileOptions
from text2sql.prompts import read_answer

Options = FileOptions


def open_source(options: FileOptions) -> FileSource:
    """The source of a recipe."""
    columns = {name: name for name in ("db_id", "schema", "evidence", "reasoning", "sql")}
    return FileSource(options, {"question": "query", "kind": "type", **columns}, adapt)


def adapt(row: dict[str, Any]) -> dict[str, Any]:
    """The row with thinking and SQL taken from the response; a response without SQL leaves the SQL empty."""
    response = row.get("response")
    if not isinstance(response, str):
        return {**row, "sql": response} if "response" in row else row
    answer = read_answer(response)
    sql = answer.sql if answer.sql.lower().startswith(("select", "with", "(")) else _inside(response)
    return {**row, "reasoning": answer.reasoning, "sql": sql}


def _inside(response: str) -> str:
    return response.rpartition("<answer>")[2].partition("</answer>")[0].strip() if "<answer>" in response else ""
