"""BIRD: questions with evidence over large databases. Where a row has no question_id, its number in the split serves."""

from typing import Literal

from pydantic.dataclasses import dataclass

from text2sql.data.files import FileSource
from text2sql.data.options import FileOptions
from text2sql.errors import UserError
from text2sql.recipe import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options(FileOptions):
    """As :class:`FileOptions`; duplicates are kept, as benchmarks count all of their rows."""

    duplicates: Literal["drop", "keep"] = "keep"
    unit_rows: int = 200


def open_source(options: Options) -> FileSource:
    """The source of a recipe."""
    if options.databases is not None and not options.databases.is_dir():
        raise UserError(f"{options.databases}: BIRD's databases are missing; unpack them there or say databases=PATH")
    same = ("question", "evidence", "db_id", "difficulty", "question_id")
    return FileSource(options, {"sql": "SQL", **{name: name for name in same}})
