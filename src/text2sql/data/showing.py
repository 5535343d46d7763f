"""What a prompt shows of a database: the schema or what linking leaves of it, stored values, and copies that vary both."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from text2sql.data.databases import RowDatabase, RowDatabases
from text2sql.data.options import WHOLE, FileOptions
from text2sql.data.source import RawRow
from text2sql.data.vary import vary
from text2sql.records import Example
from text2sql.schema.model import Schema, render_ddl

_OPEN = 200  # indexes


class Shown(NamedTuple):
    """A schema and its text, lines of stored values, and what linking counted; all empty where there is no database."""

    schema: Schema | None
    text: str
    values: str
    linked: tuple[int, ...]


class Showing:
    """Shows databases as a recipe's ``linking``, ``values`` and ``vary`` say.

    Raises:
        UserError: no such embedding model.
    """

    def __init__(self, options: FileOptions) -> None:
        self.options, self.linker = options, None
        self._index = lru_cache(_OPEN)(self._open_index)
        if options.linking is not None:
            from text2sql.linking.linker import Linker

            self.linker = Linker(options.linking)

    @property
    def needs_tree(self) -> bool:
        """Whether the gold query must be parsed for this."""
        return self.linker is not None or self.options.vary is not None

    def read(self, rows: Sequence[RawRow]) -> None:
        """Prepare for the rows of a unit."""
        if self.linker is not None:
            self.linker.read([_asked(raw) for raw in rows])

    def show(self, database: RowDatabase | None, split: str, raw: RawRow, tree: Any) -> "Shown":
        """What the prompt of a row shows; ``tree`` is its parsed query."""
        if database is None:
            return Shown(None, "", "", ())
        schema, linked = self._schema(database, split, raw, tree)
        return Shown(schema, database.render(schema), self._values(database.file, raw), linked)

    def _schema(self, database: RowDatabase, split: str, raw: RawRow, tree: Any) -> tuple[Schema, tuple[int, ...]]:
        if self.linker is None:
            return database.schema, ()
        keep_gold = split in self.linker.options.keep_gold
        return self.linker.cut(_asked(raw), database.schema, database.file, tree, keep_gold)

    def _values(self, file: Path | None, raw: RawRow) -> str:
        options = self.options.values
        if options is None or file is None:
            return ""
        from text2sql.values.match import match, render

        return render(match(_asked(raw), self._index(file), options.most), options.tokens)

    def _open_index(self, file: Path) -> Any:
        from text2sql.values.index import open_index

        return open_index(file, self.options.values.folder if self.options.values else None)

    def copies(
        self, example: Example, shown: "Shown", database: RowDatabase | None, tree: Any, databases: RowDatabases
    ) -> Iterator[Example]:
        """The example with other schemas around the columns that its query reads; the same for the same recipe."""
        options, is_training = self.options.vary, example.split == WHOLE or example.split.startswith("train")
        if options is None or not is_training or database is None or shown.schema is None:
            return
        from text2sql.linking.linker import gold_columns

        needed = gold_columns(tree, database.schema) or {
            (table.name, column.name) for table in database.schema.tables for column in table.columns
        }
        for number in range(1, options.copies):
            rng = Random(f"{self.options.seed}/{example.question_id}/{number}")
            schema = database.schema if rng.random() < options.whole else shown.schema
            schema = vary(schema, needed, self._lender(databases, rng), options, rng)
            plain = rng.random() < options.plain
            text = render_ddl(schema) if plain else database.render(schema)
            yield replace(example, schema=text, values="" if plain else example.values)

    def _lender(self, databases: RowDatabases, rng: Random) -> list[Schema]:
        """The schema of another database, where there are files to choose from."""
        found = databases.open_file(rng.choice(self._files)) if self._files else None
        return [found.schema] if isinstance(found, RowDatabase) else []

    @cached_property
    def _files(self) -> list[Path]:
        roots = self.options.database_root
        return sorted(path for root in roots for path in root.glob("*/*.sqlite") if path.stem == path.parent.name)


def _asked(raw: RawRow) -> str:
    """What is compared with schemas and values."""
    return f"{raw.question} {raw.evidence}"
