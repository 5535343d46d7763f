"""The source of all rows that stand in files: read, check, find the database, filter, one row at a time.

A layout says in which columns a row's parts stand; all else is the same for a benchmark and for a user's own CSV. A row
at fault is left out with its file and number.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqleval import hardness
from text2sql.data.building import finish_databases, plan_database, read_built
from text2sql.data.databases import RowDatabase, RowDatabases
from text2sql.data.normal import digest
from text2sql.data.options import VAL, WHOLE, FileOptions
from text2sql.data.reading import Fault, Row, read_rows
from text2sql.data.showing import Showing
from text2sql.data.source import PARTS, Adapter, MadeRow, RawRow, Rejected, Unit, raw_row
from text2sql.errors import UserError
from text2sql.records import Example, TracedExample

if TYPE_CHECKING:
    from text2sql.data.leakage import LeakIndex

logger = logging.getLogger(__name__)
_SMALL = 4 << 20  # bytes of files below which one process is as fast


class FileSource:
    """A source of rows from files; see :class:`FileOptions`."""

    def __init__(self, options: FileOptions, columns: dict[str, str], adapt: Adapter) -> None:
        """``columns`` are the layout's own; ``adapt`` makes of a row one that these columns fit."""
        self.options, self.adapt, self.clean = options, adapt, options.decontaminate
        self.columns = columns | {part: str(column) for part, column in options.columns.items()}
        unknown = set(self.columns) - set(PARTS)
        if unknown:
            raise UserError(f"columns: {', '.join(sorted(unknown))}: a row's parts are {', '.join(PARTS)}")
        self.files = {split: self._paths(split, names) for split, names in options.files.items() if names}
        if not self.files:
            raise UserError("files: say which files hold which split, for example files.train=[rows.jsonl]")
        if options.descriptions and options.schema_style != "ddl_values":
            raise UserError("descriptions: they stand beside the columns of schema_style=ddl_values only")
        self.builds = "grpo" in options.formats and not options.database_root
        self.database_roots = options.database_root or [options.output / "database"]
        self.training_splits = self._training_splits()
        self.splits = tuple(self.files)
        size = sum(path.stat().st_size for paths in self.files.values() for path in paths if path.is_file())
        self.jobs = 1 if size < _SMALL else options.jobs or os.cpu_count() or 1
        self.showing = Showing(options)

    def _paths(self, split: str, names: list[str]) -> list[Path]:
        if not split.replace("_", "").isalnum():
            raise UserError(f"files.{split}: a split's name has letters, digits and _ only")
        found: list[Path] = []
        for name in names:
            some = sorted(self.options.folder.glob(name)) if "*" in name else [self.options.folder / name]
            if not some:
                raise UserError(f"{self.options.folder / name}: no such files")
            found += some
        return found

    def _training_splits(self) -> tuple[str, ...]:
        shares = self.options.split
        if self.options.val_databases and (shares or "train" not in self.files or VAL in self.files):
            raise UserError(
                "val_databases: takes databases from the split train of files, which then has no val of its own"
            )
        if shares is None:
            return (*self.files, *((VAL,) if self.options.val_databases else ()))
        if len(self.files) != 1:
            raise UserError(f"split divides the rows of one entry of files, not of {', '.join(self.files)}")
        if len(shares) < 2 or abs(sum(shares.values()) - 1) > 1e-6:
            raise UserError("split: two shares or more that make 1, for example {train: 0.9, val: 0.1}")
        (paths,) = self.files.values()
        self.files = {WHOLE: paths}
        return tuple(shares)

    def inputs(self) -> list[Path]:
        """The files of rows, the schemas and the databases."""
        options = self.options
        named = [path for path in (options.tables, options.schema, options.described) if path is not None]
        against = self.clean.against if self.clean else []
        beside = ["*/*.sqlite", *(["*/database_description/*.csv"] if options.descriptions else [])]
        databases = [path for root in options.database_root for kind in beside for path in sorted(root.glob(kind))]
        return [*(path for paths in self.files.values() for path in paths), *named, *against, *databases]

    def units(self) -> Iterator[Unit]:
        """A unit for every ``unit_rows`` rows."""
        total, done = sum(map(len, self.files.values())), 0
        for split, paths in self.files.items():
            first, left = 1, dict(self.options.subset or {})
            names: set[str] = set()
            for place, path in enumerate(paths):
                found = self._chosen(left, read_rows(path))
                named = self._named(names, found) if "question_id" in self.columns else found
                for block, batch in groupby(named, key=lambda row: (row[0] - 1) // self.options.unit_rows):
                    rows = list(batch)
                    progress = (done + rows[-1][2]) / total
                    yield Unit(f"{place:03d}-{block:06d}", split, progress, (path, first, rows))
                    first += len(rows)
                done += 1

    def _chosen(self, left: dict[str, int], rows: Iterable[tuple[int, Row, float]]) -> Iterator[tuple[int, Row, float]]:
        """The rows of the recipe's ``subset``, of which ``left`` says how many are still to be read: the first of each kind."""
        if not self.options.subset:
            yield from rows
            return
        for number, row, share in rows:
            if all(count <= 0 for count in left.values()):
                return
            kind = ""
            if isinstance(row, dict):
                kind = str(row.get(self.columns.get("difficulty", "")) or hardness(str(row.get(self.columns["sql"]))))
                left[kind] = left.get(kind, 0) - 1
            if left.get(kind, 0) >= 0:
                yield number, row, share

    def _named(self, names: set[str], rows: Iterable[tuple[int, Row, float]]) -> Iterator[tuple[int, Row, float]]:
        """The rows, each with a question_id of its own: one that was there before gets a number at its end."""
        column = self.columns["question_id"]
        for number, row, share in rows:
            if isinstance(row, dict) and isinstance(given := row.get(column), str | int):
                name, copy = str(given), 1
                while name in names:
                    copy += 1
                    name = f"{given}-{copy}"
                names.add(name)
                if copy > 1:
                    logger.warning("row %d: question_id %s was there before; this one is %s", number, given, name)
                    row = {**row, column: name}
            yield number, row, share

    def finish(self, bases: Path) -> list[Path]:
        """Build the databases that rows brought tables for; others stay where they are."""
        if not self.builds:
            return []
        output = self.options.output
        files = (output / "examples" / f"{split}.jsonl" for split in self.training_splits)
        return finish_databases(chain.from_iterable(map(read_built, files)), bases, output / "database")

    @cached_property
    def databases(self) -> RowDatabases:
        """Opened on first use, in the process that makes units."""
        return RowDatabases(self.options)

    @cached_property
    def leaks(self) -> "LeakIndex":
        """As :attr:`databases`."""
        from text2sql.data.leakage import LeakIndex, read_evaluation

        assert self.clean is not None
        rows = [row for path in self.clean.against for row in read_evaluation(path)]
        found = [self.databases.find(db_id, "") for db_id in sorted({row.db_id for row in rows} - {""})]
        schemas = [database.schema for database in found if isinstance(database, RowDatabase)]
        return LeakIndex(rows, self.clean.rules, self.clean.near, schemas)

    def make(self, unit: Unit) -> Iterator[MadeRow | Rejected]:
        """The rows of a unit, checked."""
        path, first, rows = unit.work
        adapted = [row if isinstance(row, Fault) else self.adapt(row) for _, row, _ in rows]
        raws = [row if isinstance(row, Fault) else raw_row(row, self.columns) for row in adapted]
        self.showing.read([raw for raw in raws if not isinstance(raw, Fault)])
        for place, ((number, row, _), raw) in enumerate(zip(rows, raws, strict=True)):
            question_id = f"{unit.split}-{first + place:05d}"
            if isinstance(raw, Fault):
                shown = row if isinstance(row, dict) else {}
                texts = [str(shown.get(self.columns.get(part, part), "")) for part in ("db_id", "question", "sql")]
                made: MadeRow | Fault = raw
            else:
                texts = [raw.db_id, raw.question, raw.sql]
                question_id = f"{unit.split}-{raw.question_id}" if raw.question_id else question_id
                made = self._make(question_id, unit.split, raw)
            if isinstance(made, Fault):
                texts.append(f"{path.name} row {number}: {made.detail}")
                db_id, question, sql, detail = (text[:2000].encode("utf-8", "replace").decode() for text in texts)
                yield Rejected(question_id, db_id, question, sql, made.reason, detail)
            else:
                yield made

    def _make(self, question_id: str, split: str, raw: RawRow) -> MadeRow | Fault:
        database = self.databases.find(raw.db_id, raw.schema)
        if isinstance(database, Fault):
            return database
        tree = None
        if database is None or self.showing.needs_tree:  # where SQLite runs the query, no other parser need see it
            tree = _parse(raw.sql)
            if isinstance(tree, str) and database is None:
                return Fault("gold does not parse", tree)
        failure = database.failure(raw.sql, self.options.timeout) if database is not None else None
        if failure is not None:
            return Fault(*failure)
        if self.clean is not None and split in (*self.clean.splits, WHOLE):
            leak = self.leaks.find(raw.question, raw.sql, raw.db_id, database.schema if database else None)
            if leak is not None:
                return Fault(f"leak ({leak.rule})", f"matches {leak.row.where}: {leak.row.question}"[:300])
        shown = self.showing.show(database, split, raw, tree)
        db_id = raw.db_id or f"schema-{digest(database.text if database else ''):016x}"
        built = None
        if self.builds and database is not None:
            built = plan_database(database, raw.db_id, raw.schema, self.options.fill_databases)
        origin = (self.options.source, split, raw.difficulty or hardness(raw.sql))
        place = built.db_id if built else db_id
        example = Example(question_id, place, raw.question, shown.text, raw.sql, raw.evidence, *origin, shown.values)
        if raw.reasoning or raw.kind:
            example = TracedExample(**example.__dict__, reasoning=raw.reasoning, kind=raw.kind)
        has_database = built is not None or (
            database is not None and database.file is not None and database.file.stem == db_id
        )
        copies = tuple(self.showing.copies(example, shown, database, tree, self.databases))
        return MadeRow(example, raw.rejected, shown.linked, has_database, built, db_id, copies)


def _parse(sql: str) -> Any:
    """The query's tree, or why there is none."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(sql, read="sqlite")
    except (SqlglotError, RecursionError, ValueError) as error:
        return " ".join(str(error).split())[:300]
    return tree if isinstance(tree, exp.Query) else f"{type(tree).__name__}, not a query"
