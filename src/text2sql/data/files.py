"""The way of every source that reads files of rows: read, check, ground, filter, one row at a time.

An adapter says in which columns a row's parts stand (and, where that is not enough, takes rows apart itself);
all else is the same for a benchmark and for a user's own CSV. A row at fault is left out with its file and number.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqleval import hardness
from text2sql.data.grounds import Ground, Grounds
from text2sql.data.normal import LEAK_RULES, digest
from text2sql.data.reading import Fault, read_rows
from text2sql.data.sources.base import CommonOptions, Made, Rejected, Unit
from text2sql.errors import UserError
from text2sql.linking.options import LinkOptions
from text2sql.recipe import options_from
from text2sql.records import Example, TracedExample
from text2sql.schema import Style

if TYPE_CHECKING:
    from text2sql.data.leakage import LeakIndex

_PARTS = (
    "question",
    "sql",
    "db_id",
    "schema",
    "evidence",
    "difficulty",
    "question_id",
    "reasoning",
    "kind",
    "rejected",
)
_SMALL = 4 << 20
_FAMOUS = {"question": "question", "sql": "sql", "db_id": "db_id"}


@dataclass(frozen=True)
class RawRow:
    """A row in our terms, as texts; only ``question`` and ``sql`` are never empty."""

    question: str
    sql: str
    db_id: str = ""
    schema: str = ""
    evidence: str = ""
    difficulty: str = ""
    question_id: str = ""
    reasoning: str = ""
    kind: str = ""
    rejected: str = ""


Adapter = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Decontaminate:
    """``against``: evaluation files; ``rules`` and ``near`` as in :mod:`text2sql.data.leakage`; ``splits``: whose rows."""

    against: list[Path]
    rules: list[str] = field(default_factory=lambda: list(LEAK_RULES))
    near: float = 0.7
    splits: list[str] = field(default_factory=lambda: ["train"])


@dataclass(frozen=True, kw_only=True)
class FileOptions(CommonOptions):
    """``files``: paths (relative to ``folder``; ``*`` allowed) by split. ``columns``: a row's part -> its column.

    Schemas come from ``databases`` (``<db_id>/<db_id>.sqlite``), the row's own text, ``tables`` (Spider's tables.json)
    or ``schema`` (one file for all rows); text in words is looked up in ``described`` (see ``text2sql.data.describe``);
    ``schema_style`` says how they look, ``linking`` cuts them to what a question
    needs. ``split`` (shares by name, ``{train: 0.8, val: 0.1, test: 0.1}``) divides the rows of split ``all`` by
    ``split_by``. ``duplicates: drop`` leaves out a question asked before about the same database.
    ``unit_rows`` is how many rows a killed run may have to repeat.
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


class FileSource:
    """A source of rows from files; see :class:`FileOptions`."""

    def __init__(
        self, options: FileOptions, columns: dict[str, str] | None = None, adapt: Adapter | None = None
    ) -> None:
        """``columns`` are the adapter's own; ``adapt`` makes of a row one that these columns fit."""
        self.options, self.adapt = options, adapt
        self.columns = {**(columns or _FAMOUS), **{k: str(v) for k, v in options.columns.items()}}
        unknown = set(self.columns) - set(_PARTS)
        if unknown:
            raise UserError(f"columns: {', '.join(sorted(unknown))}: a row's parts are {', '.join(_PARTS)}")
        if options.unit_rows < 1 or options.timeout <= 0:
            raise UserError("unit_rows is 1 or more, and timeout more than 0 seconds")
        self.files = {split: self._paths(split, entry) for split, entry in options.files.items()}
        if not any(self.files.values()):
            raise UserError("files: say which files hold which split, for example files.train=[rows.jsonl]")
        self.splits = tuple(self.files)
        self.taught = self._taught()
        size = sum(path.stat().st_size for paths in self.files.values() for path in paths if path.is_file())
        self.jobs = 1 if size < _SMALL else options.jobs or os.cpu_count() or 1
        self._grounds: Grounds | None = None
        self.linker = None
        if options.linking is not None:
            from text2sql.linking.linker import open_linker

            self.linker = open_linker(_section(LinkOptions, options.linking, "linking"))
        self.clean = _section(Decontaminate, options.decontaminate, "decontaminate")
        self._leaks: LeakIndex | None = None

    def _paths(self, split: str, entry: object) -> list[Path]:
        names = [name for name in (entry if isinstance(entry, list) else [entry]) if isinstance(name, str)]
        if not split.replace("_", "").isalnum() or not names or (isinstance(entry, list) and len(names) < len(entry)):
            raise UserError(f"files.{split}: expected a list of paths")
        found: list[Path] = []
        for name in names:
            some = sorted(self.options.folder.glob(name)) if "*" in name else [self.options.folder / name]
            if not some:
                raise UserError(f"{self.options.folder / name}: no such files")
            found += some
        return found

    def _taught(self) -> tuple[str, ...]:
        shares = self.options.split
        if shares is None:
            return self.splits
        if self.splits != ("all",):
            raise UserError("split divides the rows of files.all; name no other files")
        good = all(isinstance(share, int | float) and 0 < share < 1 for share in shares.values())
        if len(shares) < 2 or not good or abs(sum(shares.values()) - 1) > 1e-6:  # type: ignore[arg-type]
            raise UserError("split: shares between 0 and 1 that make 1, for example {train: 0.9, val: 0.1}")
        return tuple(shares)

    def inputs(self) -> list[Path]:
        """The files of rows, the schemas and the databases."""
        options = self.options
        named = [path for path in (options.tables, options.schema, options.described) if path is not None]
        against = self.clean.against if self.clean else []
        databases = sorted(options.databases.glob("*/*.sqlite")) if options.databases else []
        return [*(path for paths in self.files.values() for path in paths), *named, *against, *databases]

    def units(self) -> Iterator[Unit]:
        """A unit for every ``unit_rows`` rows."""
        total = sum(len(paths) for paths in self.files.values())
        done = 0
        for split, paths in self.files.items():
            first = 1
            for place, path in enumerate(paths):
                blocks = groupby(read_rows(path), key=lambda row: (row[0] - 1) // self.options.unit_rows)
                for block, batch in blocks:
                    rows = list(batch)
                    progress = (done + rows[-1][2]) / total
                    yield Unit(f"{place:03d}-{block:06d}", split, progress, (path, first, rows))
                    first += len(rows)
                done += 1

    def finish(self) -> list[Path]:
        """Nothing goes along: databases stay where they are."""
        return []

    @property
    def grounds(self) -> Grounds:
        """Opened on first use, in the process that makes units."""
        if self._grounds is None:
            o = self.options
            self._grounds = Grounds(o.databases, o.tables, o.schema, o.schema_style, o.described)
        return self._grounds

    def make(self, unit: Unit) -> Iterator[Made | Rejected]:
        """The rows of a unit, checked."""
        path, first, rows = unit.work
        for place, (number, row, _) in enumerate(rows):
            question_id = f"{unit.split}-{first + place:05d}"
            raw = row if isinstance(row, Fault) else self._raw(row)
            if isinstance(raw, Fault):
                shown = row if isinstance(row, dict) else {}
                texts = [str(shown.get(self.columns.get(part, part), "")) for part in ("db_id", "question", "sql")]
                made: Made | Fault = raw
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

    def _raw(self, row: dict[str, Any]) -> RawRow | Fault:
        row = self.adapt(row) if self.adapt is not None else row
        found: dict[str, str] = {}
        for part, column in self.columns.items():
            value = row.get(column)
            if isinstance(value, int) and part in ("db_id", "question_id"):
                value = str(value)
            if isinstance(value, str):
                if not value.isascii() and ("\ufffd" in value or not _encodable(value)):
                    return Fault("damaged text", f"{column!r} is not whole UTF-8 text")
                found[part] = value.strip().replace("\0", "")
            elif value is not None:
                return Fault("wrong type", f"{column!r} should be str, found {type(value).__name__}")
        for part in ("question", "sql"):
            column = self.columns.get(part, part)
            if not found.get(part):
                if column in row:
                    return Fault("empty value", f"{column!r} is empty")
                return Fault("missing key", f"no key {column!r}; found {', '.join(map(repr, row)) or 'none'}"[:300])
        return RawRow(**found)

    def _make(self, question_id: str, split: str, raw: RawRow) -> Made | Fault:
        ground = self.grounds.find(raw.db_id, raw.schema)
        if isinstance(ground, Fault):
            return ground
        tree = None
        if ground is None or self.linker is not None:  # where SQLite runs the query, no other parser need see it
            tree = _parse(raw.sql)
            if isinstance(tree, str) and ground is None:
                return Fault("gold does not parse", tree)
        failure = ground.failure(raw.sql, self.options.timeout) if ground is not None else None
        if failure is not None:
            return Fault(*failure)
        if self.clean is not None and split in (*self.clean.splits, "all"):
            leak = self.leaks.find(raw.question, raw.sql, raw.db_id, ground.schema if ground else None)
            if leak is not None:
                return Fault(f"leak ({leak.rule})", f"matches {leak.row.where}: {leak.row.question}"[:300])
        schema, linked = self._schema(ground, split, raw, tree)
        example = Example(
            question_id,
            raw.db_id or f"schema-{digest(ground.text if ground else ''):016x}",
            raw.question,
            schema,
            raw.sql,
            raw.evidence,
            self.options.source,
            split,
            raw.difficulty or hardness(raw.sql),
        )
        if raw.reasoning or raw.kind:
            example = TracedExample(**example.__dict__, reasoning=raw.reasoning, kind=raw.kind)
        return Made(example, raw.rejected, linked)

    def _schema(self, ground: Ground | None, split: str, raw: RawRow, tree: Any) -> tuple[str, tuple[int, ...]]:
        """The schema as the prompt shows it, and what linking counted."""
        if ground is None or self.linker is None:
            return ground.text if ground is not None else "", ()
        asked = f"{raw.question} {raw.evidence}"
        cut = self.linker.cut(asked, ground.schema, ground.file, tree, split in self.linker.options.keep_gold)
        return ground.render(cut.schema), cut.counts

    @property
    def leaks(self) -> "LeakIndex":
        """Opened on first use, in the process that makes units."""
        if self._leaks is None:
            from text2sql.data.leakage import LeakIndex, read_evaluation

            assert self.clean is not None
            rows = [row for path in self.clean.against for row in read_evaluation(path)]
            grounds = [self.grounds.find(db_id, "") for db_id in sorted({row.db_id for row in rows} - {""})]
            schemas = [ground.schema for ground in grounds if isinstance(ground, Ground)]
            self._leaks = LeakIndex(rows, self.clean.rules, self.clean.near, schemas)
        return self._leaks


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


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _section(kind: Any, values: dict[str, object] | None, where: str) -> Any:
    return None if values is None else options_from(kind, values, where)
