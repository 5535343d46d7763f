"""Spider 1.0, with the schema read from each SQLite file and every gold query run before it counts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

from sqleval import hardness
from text2sql.data.gold import gold_failure
from text2sql.data.reading import json_rows
from text2sql.data.sources.base import CommonOptions, Rejected, Unit
from text2sql.errors import UserError
from text2sql.records import Example
from text2sql.schema import open_readonly, read_schema, render_ddl

_REQUIRED = {"db_id": str, "question": str, "query": str}


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """``folder`` holds Spider as unpacked; ``unit_rows`` is how many rows a killed run may have to repeat."""

    folder: Path
    train: list[str] = field(default_factory=lambda: ["train_spider.json"])
    dev: list[str] = field(default_factory=lambda: ["dev.json"])
    database: str = "database"
    timeout: float = 10.0
    unit_rows: int = 200


class SpiderSource:
    """Spider's train and dev splits. A question's id is its split and row, as in ``dev-00001``."""

    splits = ("train", "dev")
    taught = ("train", "dev")

    def __init__(self, options: Options) -> None:
        self.options = options
        self.root = options.folder / options.database
        self.files = {split: [options.folder / name for name in getattr(options, split)] for split in self.splits}
        if options.unit_rows < 1 or options.timeout <= 0:
            raise UserError("unit_rows is 1 or more, and timeout more than 0 seconds")
        if not options.folder.is_dir():
            raise UserError(f"{options.folder}: no such folder; unpack Spider 1.0 there or say folder=PATH")
        if not self.root.is_dir():
            raise UserError(f"{self.root}: Spider's databases are missing; they belong in that folder")
        self.schema = cache(self._schema)

    def inputs(self) -> list[Path]:
        """The question files and the databases."""
        return [
            *(file for files in self.files.values() for file in files),
            *sorted(self.root.glob("*/*.sqlite")),
        ]

    def units(self) -> Iterator[Unit]:
        """A unit for every ``unit_rows`` questions."""
        total = sum(len(files) for files in self.files.values())
        done = 0
        for split, files in self.files.items():
            first = 1
            for file in files:
                rows = json_rows(file, _REQUIRED)
                for block, batch in groupby(rows, key=lambda row: (row[0] - 1) // self.options.unit_rows):
                    items = list(batch)
                    progress = (done + items[-1][2]) / total
                    work = [(first + place, row) for place, (_, row, _) in enumerate(items)]
                    first += len(items)
                    yield Unit(f"{file.stem}-{block:05d}", split, progress, partial(self._make, split, work))
                done += 1

    def finish(self) -> list[Path]:
        """Nothing goes along: Spider's databases and tables.json stay where they are."""
        return []

    def _make(self, split: str, work: list[tuple[int, dict[str, Any]]]) -> Iterator[Example | Rejected]:
        for number, row in work:
            db_id, question, sql = row["db_id"], row["question"], row["query"]
            question_id = f"{split}-{number:05d}"
            path = self.root / db_id / f"{db_id}.sqlite"
            if not path.is_file():
                yield Rejected(question_id, db_id, question, sql, "missing database", f"{db_id}/{db_id}.sqlite")
                continue
            schema = self.schema(path)
            failure = gold_failure(path, sql, self.options.timeout)
            if failure is not None:
                yield Rejected(question_id, db_id, question, sql, *failure)
                continue
            yield Example(
                question_id,
                db_id,
                question,
                schema,
                sql,
                source="spider",
                split=split,
                difficulty=hardness(sql),
            )

    @staticmethod
    def _schema(path: Path) -> str:
        connection = open_readonly(path)
        try:
            return render_ddl(read_schema(connection))
        finally:
            connection.close()


def open_source(options: Options) -> SpiderSource:
    """The source of a recipe."""
    return SpiderSource(options)
