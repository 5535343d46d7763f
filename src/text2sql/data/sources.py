"""The sources a recipe can name: the toy databases, and files of rows in the layouts of known data sets.

A new layout of files is an entry of ``_LAYOUTS``: in which column each part of a row stands and, where that is not
enough, a function that takes rows apart.
"""

from collections.abc import Callable
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic.dataclasses import dataclass

from text2sql.data.adapters import alpaca_row, process_row
from text2sql.data.files import FileSource
from text2sql.data.options import Count, FileOptions
from text2sql.data.source import Adapter, Source
from text2sql.errors import UserError
from text2sql.recipe import STRICT, options_from
from text2sql.recipe.keys import names


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
    roots = options.database_root or [options.folder / "database"]
    _check_folders(roots, "Spider's databases are missing; they belong in that folder")
    own = {split: names for split, names in (("train", options.train), ("dev", options.dev)) if names}
    located: FileOptions = replace(options, database_root=roots, files=options.files or own)
    return located


def _with_databases(options: FileOptions) -> FileOptions:
    _check_folders(options.database_root, "the databases are missing; unpack them there or say database_root=PATH")
    return options


def _check_folders(folders: list[Path], missing: str) -> None:
    if folders and not any(folder.is_dir() for folder in folders):
        raise UserError(f"{folders[0]}: {missing}")


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
    "alpaca": _Layout(
        {"question": "input", "schema": "instruction", "sql": "output", **_same("db_id", "evidence")}, alpaca_row
    ),
    "process": _Layout(
        {"question": "query", "kind": "type", **_same("db_id", "schema", "evidence", "reasoning", "sql")}, process_row
    ),
    "synthetic_text_to_sql": _Layout(
        {"question": "sql_prompt", "schema": "sql_context", "sql": "sql", "question_id": "id"}
    ),
    "synsql": _Layout(
        {"evidence": "external_knowledge", "difficulty": "sql_complexity", **_same("question", "sql", "db_id")},
        locate=_with_databases,
    ),
    "text2sql_dataset": _Layout({"question": "prompt", "schema": "context", "sql": "answer"}),
    "spider": _Layout({"sql": "query", **_same("question", "db_id")}, options=SpiderOptions, locate=_spider),
    "bird": _Layout(
        {"sql": "SQL", **_same("question", "evidence", "db_id", "difficulty", "question_id")},
        options=BenchmarkOptions,
        locate=_with_databases,
    ),
}


def open_source(values: dict[str, Any], where: str) -> Source:
    """The source that a recipe's keys ask for.

    Raises:
        UserError: no such source, keys that it does not know, or values of another kind.
    """
    name = values.get("source")
    if values.get("issues"):
        from text2sql.sql import load_issues

        load_issues(names(values["issues"]))
    if name == "toy":
        from text2sql.data.toy import ToyOptions, ToySource  # workers on files need neither the generator nor its data

        return ToySource(options_from(ToyOptions, values, where))
    layout = _LAYOUTS.get(str(name))
    if layout is None:
        raise UserError(f"{where}: source is one of {', '.join(sorted([*_LAYOUTS, 'toy']))}, not {name!r}")
    options = layout.locate(options_from(layout.options, values, where))
    return FileSource(options, layout.columns, layout.adapt)
