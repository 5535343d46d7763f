"""Reads ``data/toy/*.yaml``, a database each, checked so that a slip ends in one line and not in odd rows."""

from itertools import product
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from text2sql.errors import UserError
from text2sql.recipe import STRICT, load_recipe, options_from
from text2sql.toy.spec import ColumnSpec, DatabaseSpec, Kind, TableSpec


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _DatabaseEntry:
    db_id: str
    split: Literal["train", "val", "test"]
    tables: dict[str, object]
    domain: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _TableEntry:
    columns: dict[str, object]
    rows: int = 40


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _ColumnEntry:
    """As :class:`ColumnSpec`; ``values`` may be lists of words, which stand for every combination."""

    kind: Kind
    to: str = ""
    values: list[object] | None = None
    low: float = 0
    high: float = 100
    nulls: float = 0.0


def load_world(folder: Path) -> list[DatabaseSpec]:
    """The databases that the YAML files of ``folder`` describe, by name.

    Raises:
        UserError: no such folder, no YAML in it, or a mistake in a file (named with table and column).
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of database descriptions")
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError(f"{folder}: no *.yaml file describes a database there")
    return [load_database(file) for file in files]


def load_database(file: Path) -> DatabaseSpec:
    """One described database; raises :class:`UserError` like :func:`load_world`."""
    entry = options_from(_DatabaseEntry, load_recipe(file, []), str(file))
    if entry.db_id != file.stem:
        raise UserError(f"{file}: db_id {entry.db_id!r} should be the file's name, {file.stem!r}")
    tables: list[TableSpec] = []
    for name, body in entry.tables.items():
        where = f"{file}: table {name}"
        if name.lower() in {table.name.lower() for table in tables}:
            raise UserError(f"{where}: a second table of this name")
        tables.append(_table(name, body, {table.name: table for table in tables}, where))
    if not tables:
        raise UserError(f"{file}: a database needs a table")
    return DatabaseSpec(entry.db_id, tuple(tables), entry.split, entry.domain)


def _table(name: str, body: object, earlier: dict[str, TableSpec], where: str) -> TableSpec:
    entry = options_from(_TableEntry, _mapping(body, where), where)
    if entry.rows < 1:
        raise UserError(f"{where}: rows should be 1 or more, not {entry.rows}")
    columns: list[ColumnSpec] = []
    for column, text in entry.columns.items():
        place = f"{where}, column {column}"
        if column.lower() in {known.name.lower() for known in columns}:
            raise UserError(f"{place}: a second column of this name")
        columns.append(_column(column, _mapping(text, place), earlier, place))
    if not columns:
        raise UserError(f"{where}: a table needs a column")
    if sum(column.kind == "id" for column in columns) > 1:
        raise UserError(f"{where}: one id column at most")
    return TableSpec(name, tuple(columns), entry.rows)


def _column(name: str, body: dict[str, object], earlier: dict[str, TableSpec], where: str) -> ColumnSpec:
    entry = options_from(_ColumnEntry, body, where)
    values = _values(entry.values or [], where)
    if (entry.kind in ("name", "category")) != bool(values):
        raise UserError(f"{where}: values belong to name and category columns, and only to these")
    if (entry.kind == "ref") != bool(entry.to):
        raise UserError(f"{where}: 'to' names the table that a ref column points to, and belongs to no other kind")
    if entry.to and (entry.to not in earlier or len(earlier[entry.to].primary_key) != 1):
        raise UserError(f"{where}: {entry.to!r} is not a table with an id column above this one")
    if entry.nulls and entry.kind in ("id", "ref"):
        raise UserError(f"{where}: a key has no NULLs")
    if not 0 <= entry.nulls < 1:
        raise UserError(f"{where}: nulls is a fraction below 1, not {entry.nulls}")
    if entry.low > entry.high or (entry.kind == "date" and not 1 <= entry.low <= entry.high <= 9999):
        raise UserError(f"{where}: {entry.low:g} to {entry.high:g} is not a range of {entry.kind} values")
    return ColumnSpec(name, entry.kind, entry.to, values, entry.low, entry.high, entry.nulls)


def _values(values: list[object], where: str) -> tuple[str, ...]:
    if values and all(isinstance(part, list) for part in values):
        return tuple(" ".join(words) for words in product(*(_values(part, where) for part in values)))  # type: ignore[arg-type]
    texts = tuple(value for value in values if isinstance(value, str) and value)
    if len(texts) != len(values):
        odd = next(value for value in values if not isinstance(value, str) or not value)
        raise UserError(f"{where}: a value should be text, not {odd!r}; put it in quotes")
    return texts


def _mapping(body: object, where: str) -> dict[str, object]:
    if not isinstance(body, dict):
        raise UserError(f"{where}: expected a mapping of keys to values, found {body!r}")
    return {str(key): value for key, value in body.items()}
