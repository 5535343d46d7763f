"""What a toy database is before it has rows: described by a YAML file of ``data/toy``, or drawn at random.

A mistake in a description is reported with its file, table and column.
"""

from collections.abc import Iterable
from dataclasses import field
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from text2sql.errors import UserError
from text2sql.recipe import STRICT, load_recipe, options_from

Kind = Literal["id", "ref", "name", "category", "integer", "real", "date"]


def _combine(values: Any) -> Any:
    """Every combination of one word from each list, for lists of words; other values stay."""
    if not isinstance(values, list | tuple):
        return values
    if values and all(isinstance(part, list) for part in values):
        return tuple(" ".join(words) for words in product(*map(_combine, values)))
    for value in values:
        if not isinstance(value, str) or not value:
            raise ValueError(f"a value should be text, not {value!r}; put it in quotes")
    return tuple(values)


@dataclass(frozen=True, config=STRICT)
class ColumnSpec:
    """One column. ``kind`` decides type and values.

    id: INTEGER PRIMARY KEY, 1..rows. ref: INTEGER foreign key to the primary key of table ``to``. name: TEXT
    from ``values``, mostly distinct. category: TEXT from ``values``, repeated. integer, real: between ``low``
    and ``high``, with ties. date: TEXT 'YYYY-MM-DD' between years ``low`` and ``high``. ``nulls``: fraction
    of NULLs. In YAML, ``values`` may be lists of words, which stand for every combination.
    """

    name: str
    kind: Kind
    to: str = ""
    values: Annotated[tuple[str, ...], BeforeValidator(_combine)] = ()
    low: float = 0
    high: float = 100
    nulls: float = Field(default=0.0, ge=0, lt=1)

    def __post_init__(self) -> None:
        if (self.kind in ("name", "category")) != bool(self.values):
            raise ValueError("values belong to name and category columns, and only to these")
        if (self.kind == "ref") != bool(self.to):
            raise ValueError("'to' names the table that a ref column points to, and belongs to no other kind")
        if self.nulls and self.kind in ("id", "ref"):
            raise ValueError("a key has no NULLs")
        if self.low > self.high or (self.kind == "date" and not 1 <= self.low <= self.high <= 9999):
            raise ValueError(f"{self.low:g} to {self.high:g} is not a range of {self.kind} values")


@dataclass(frozen=True, config=STRICT)
class TableSpec:
    """A table with its number of rows; one without an id column and with several refs links its parents."""

    name: str
    columns: tuple[ColumnSpec, ...]
    rows: int = 40

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The id column; for a linking table its refs together (its row count is then an upper bound)."""
        ids = tuple(column.name for column in self.columns if column.kind == "id")
        refs = tuple(column.name for column in self.columns if column.kind == "ref")
        return ids or (refs if len(refs) > 1 else ())


@dataclass(frozen=True, config=STRICT)
class DatabaseSpec:
    """A database; a table comes after the tables to which its foreign keys refer. ``split``: train, val or test."""

    db_id: str
    tables: tuple[TableSpec, ...]
    split: str = ""
    domain: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _DatabaseEntry:
    db_id: str
    split: Literal["train", "val", "test"]
    tables: dict[str, dict[str, Any]]
    domain: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _TableEntry:
    columns: dict[str, dict[str, Any]]
    rows: int = Field(default=40, ge=1)


def load_specs(folder: Path) -> list[DatabaseSpec]:
    """The databases that the YAML files of ``folder`` describe, by name.

    Raises:
        UserError: no such folder, no YAML in it, or a mistake in a file (named with table and column).
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of database descriptions")
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError(f"{folder}: no *.yaml file describes a database there")
    return [load_spec(file) for file in files]


def load_spec(file: Path) -> DatabaseSpec:
    """One described database; raises :class:`UserError` like :func:`load_specs`."""
    entry = options_from(_DatabaseEntry, load_recipe(file, []), str(file))
    if entry.db_id != file.stem:
        raise UserError(f"{file}: db_id {entry.db_id!r} should be the file's name, {file.stem!r}")
    _check_names(entry.tables, "table", str(file))
    tables: dict[str, TableSpec] = {}
    for name, body in entry.tables.items():
        tables[name] = _table(name, body, tables, f"{file}: table {name}")
    return DatabaseSpec(entry.db_id, tuple(tables.values()), entry.split, entry.domain)


def _table(name: str, body: dict[str, Any], earlier: dict[str, TableSpec], where: str) -> TableSpec:
    entry = options_from(_TableEntry, body, where)
    _check_names(entry.columns, "column", where)
    columns = []
    for column, keys in entry.columns.items():
        place = f"{where}, column {column}"
        spec = options_from(ColumnSpec, {"name": column, **keys}, place)
        if spec.to and (spec.to not in earlier or len(earlier[spec.to].primary_key) != 1):
            raise UserError(f"{place}: {spec.to!r} is not a table with an id column above this one")
        columns.append(spec)
    if sum(column.kind == "id" for column in columns) > 1:
        raise UserError(f"{where}: one id column at most")
    return TableSpec(name, tuple(columns), entry.rows)


def _check_names(entries: Iterable[str], what: str, where: str) -> None:
    """Refuse an empty description, and names that differ only in case, which are the same to SQLite."""
    names = [name.lower() for name in entries]
    if not names:
        raise UserError(f"{where}: a {what} is needed")
    for number, name in enumerate(entries):
        if names.index(name.lower()) < number:
            raise UserError(f"{where}, {what} {name}: a second {what} of this name")
