"""Reads the descriptions of toy databases, ``data/toy/*.yaml``, and reports a mistake with its file, table and column."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from text2sql.errors import UserError
from text2sql.recipe import STRICT, load_recipe, options_from
from text2sql.toy.spec import ColumnSpec, DatabaseSpec, TableSpec

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _DatabaseEntry:
    db_id: str
    split: Literal["train", "val", "test"]
    tables: dict[str, Body]
    domain: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _TableEntry:
    columns: dict[str, Body]
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


def _table(name: str, body: Body, earlier: dict[str, TableSpec], where: str) -> TableSpec:
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
