"""The sources a recipe can name: the toy databases, and files of rows in the layouts of known data sets.

A new layout of files is an entry of ``_LAYOUTS``: in which column each part of a row stands and, where that is not
enough, a function that takes rows apart.
"""

import re
from collections.abc import Callable
from dataclasses import field, replace
from typing import Any, Literal, NamedTuple

from pydantic.dataclasses import dataclass

from text2sql.data.files import FileSource
from text2sql.data.options import Count, FileOptions
from text2sql.data.source import Adapter, Source
from text2sql.errors import UserError
from text2sql.prompts import parse_completion, read_answer
from text2sql.recipe import STRICT, options_from

_PROMPT = re.compile(r"\\?\[SCHEMA\]\s*(.*?)\s*\\?\[QUESTION\]\s*(.*)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BenchmarkOptions(FileOptions):
    """As :class:`FileOptions`; duplicates are kept, because figures on benchmarks are figures on all of their rows."""

    duplicates: Literal["drop", "keep"] = "keep"
    unit_rows: Count = 200


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpiderOptions(BenchmarkOptions):
    """``folder`` holds Spider as unpacked; a relative's questions may lie elsewhere than Spider's ``database_root``."""

    train: list[str] = field(default_factory=lambda: ["train_spider.json"])
    dev: list[str] = field(default_factory=lambda: ["dev.json"])


def _spider(options: Any) -> FileOptions:
    """The options with Spider's own files and databases where the recipe names no others."""
    if not options.folder.is_dir():
        raise UserError(f"{options.folder}: no such folder; unpack Spider 1.0 there or say folder=PATH")
    root = options.database_root or options.folder / "database"
    if not root.is_dir():
        raise UserError(f"{root}: Spider's databases are missing; they belong in that folder")
    own = {split: names for split, names in (("train", options.train), ("dev", options.dev)) if names}
    located: FileOptions = replace(options, database_root=root, files=options.files or own)
    return located


def _bird(options: FileOptions) -> FileOptions:
    root = options.database_root
    if root is not None and not root.is_dir():
        raise UserError(f"{root}: BIRD's databases are missing; unpack them there or say database_root=PATH")
    return options


def _alpaca_row(row: dict[str, Any]) -> dict[str, Any]:
    """The row with schema and question apart (where ``instruction`` is a whole prompt of ours) and the SQL bare."""
    texts = [row.get(name) for name in ("instruction", "input")]
    found = _PROMPT.search("\n".join(text for text in texts if isinstance(text, str)))
    parts = {"instruction": found[1], "input": found[2]} if found else {}
    answer = row.get("output")
    return {**row, **parts, **({"output": parse_completion(answer)} if isinstance(answer, str) else {})}


def _process_row(row: dict[str, Any]) -> dict[str, Any]:
    """The row with thinking and SQL taken from ``<think>..</think><answer>..</answer>``; no SQL leaves it empty."""
    response = row.get("response")
    if not isinstance(response, str):
        return {**row, "sql": response} if "response" in row else row
    answer = read_answer(response)
    sql = answer.sql
    if not sql.lower().startswith(("select", "with", "(")):
        _, tag, inside = response.rpartition("<answer>")
        sql = inside.partition("</answer>")[0].strip() if tag else ""
    return {**row, "reasoning": answer.reasoning, "sql": sql}


class _Layout(NamedTuple):
    """Columns of a data set by part of a row; ``adapt`` makes of a row one that they fit; ``locate`` completes options."""

    columns: dict[str, str]
    adapt: Adapter = lambda row: row
    options: type[FileOptions] = FileOptions
    locate: Callable[[FileOptions], FileOptions] = lambda options: options


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_LAYOUTS = {
    "rows": _Layout(
        _same("question", "sql", "db_id", "schema", "evidence", "difficulty", "reasoning", "kind", "rejected")
    ),
    "alpaca": _Layout({"question": "input", "schema": "instruction", "sql": "output"}, _alpaca_row),
    "process": _Layout(
        {"question": "query", "kind": "type", **_same("db_id", "schema", "evidence", "reasoning", "sql")}, _process_row
    ),
    "text2sql_dataset": _Layout({"question": "prompt", "schema": "context", "sql": "answer"}),
    "spider": _Layout({"sql": "query", **_same("question", "db_id")}, options=SpiderOptions, locate=_spider),
    "bird": _Layout(
        {"sql": "SQL", **_same("question", "evidence", "db_id", "difficulty", "question_id")},
        options=BenchmarkOptions,
        locate=_bird,
    ),
}


def open_source(values: dict[str, Any], where: str) -> Source:
    """The source that a recipe's keys ask for.

    Raises:
        UserError: no such source, keys that it does not know, or values of another kind.
    """
    name = values.get("source")
    if name == "toy":
        from text2sql.data.toy import ToyOptions, ToySource  # workers on files need neither the generator nor its data

        return ToySource(options_from(ToyOptions, values, where))
    layout = _LAYOUTS.get(str(name))
    if layout is None:
        raise UserError(f"{where}: source is one of {', '.join(sorted([*_LAYOUTS, 'toy']))}, not {name!r}")
    options = layout.locate(options_from(layout.options, values, where))
    return FileSource(options, layout.columns, layout.adapt)
