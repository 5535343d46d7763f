"""What a recipe may say about a source that reads files."""

from dataclasses import field
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from text2sql.data.normal import LEAK_RULES
from text2sql.data.sources.base import CommonOptions
from text2sql.recipe import STRICT
from text2sql.schema import Style


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Decontaminate:
    """``against``: evaluation files; ``rules`` and ``near`` as in :mod:`text2sql.data.leakage`; ``splits``: whose rows."""

    against: list[Path]
    rules: list[str] = field(default_factory=lambda: list(LEAK_RULES))
    near: float = 0.7
    splits: list[str] = field(default_factory=lambda: ["train"])


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FileOptions(CommonOptions):
    """``files``: paths (relative to ``folder``; ``*`` allowed) by split. ``columns``: a row's part -> its column.

    Schemas come from ``databases`` (``<db_id>/<db_id>.sqlite``), the row's own text, ``tables`` (Spider's tables.json)
    or ``schema`` (one file for all rows); text in words is looked up in ``described`` (see ``text2sql.data.describe``);
    ``schema_style`` says how they look, ``linking`` cuts them to what a question needs. ``split`` (shares by name, such
    as ``{train: 0.8, val: 0.1, test: 0.1}``) divides the rows of split ``all`` by ``split_by``. ``duplicates: drop``
    leaves out a question asked before about the same database. ``unit_rows``: how many rows a killed run may repeat.
    """

    files: dict[str, object] = field(default_factory=dict)
    folder: Path = Path()
    columns: dict[str, object] = field(default_factory=dict)
    databases: Path | None = None
    tables: Path | None = None
    schema: Path | None = None
    described: Path | None = None
    schema_style: Style = "ddl"
    linking: dict[str, object] | None = None
    decontaminate: dict[str, object] | None = None
    split: dict[str, object] | None = None
    split_by: Literal["database", "random"] = "database"
    duplicates: Literal["drop", "keep"] = "drop"
    timeout: float = 10.0
    unit_rows: int = 1000
