"""Spider 1.0 and its relatives (Spider-Syn, -Realistic, -DK), every gold query run before it counts."""

from dataclasses import field, replace
from typing import Literal

from pydantic.dataclasses import dataclass

from text2sql.data.files import FileSource
from text2sql.data.options import FileOptions
from text2sql.errors import UserError
from text2sql.recipe import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options(FileOptions):
    """``folder`` holds Spider as unpacked; a relative's questions may lie elsewhere, its ``databases`` be Spider's.

    Duplicates are kept, because figures on benchmarks are figures on all of their rows.
    """

    train: list[str] = field(default_factory=lambda: ["train_spider.json"])
    dev: list[str] = field(default_factory=lambda: ["dev.json"])
    database: str = "database"
    duplicates: Literal["drop", "keep"] = "keep"
    unit_rows: int = 200


def open_source(options: Options) -> FileSource:
    """The source of a recipe."""
    if not options.folder.is_dir():
        raise UserError(f"{options.folder}: no such folder; unpack Spider 1.0 there or say folder=PATH")
    root = options.databases or options.folder / options.database
    if not root.is_dir():
        raise UserError(f"{root}: Spider's databases are missing; they belong in that folder")
    files: dict[str, object] = {"train": options.train, "dev": options.dev}
    files = options.files or {split: names for split, names in files.items() if names}
    columns = {"question": "question", "sql": "query", "db_id": "db_id"}
    return FileSource(replace(options, databases=root, files=files), columns)
