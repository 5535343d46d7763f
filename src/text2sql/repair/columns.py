"""Columns that a query takes from a table that has no such column; SQLite would refuse it, so nothing right is touched."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from text2sql.repair.scope import Scope, enclosing, spelled
from text2sql.schema import Schema, Table
from text2sql.schema.model import quote
from text2sql.sql.statement import Statement, own, sources

_ROW_NAMES = frozenset(("rowid", "oid", "_rowid_"))


@dataclass(frozen=True)
class Edit:
    """``sql[start:end]`` becomes ``text``; ``words`` say what was changed and why."""

    start: int
    end: int
    text: str
    words: str


def moved_columns(statement: Statement, schema: Schema) -> list[Edit]:
    """A column that its table does not have goes to the only joined table that has it.

    Where none has it, the only column of the joined tables whose name differs in case, spaces and underscores alone takes
    its place. A SELECT that also reads from a subquery or a table of WITH is left alone: those may have the column.
    """
    scope = Scope(statement, schema)
    return [
        edit for select in statement.find(exp.Select) for column in own(select, select, exp.Column)
        for edit in _edits(select, column, scope)
    ]  # fmt: skip


def _edits(select: Any, column: Any, scope: Scope) -> Iterator[Edit]:
    found = scope.sources(select)
    tables = {alias: table for alias, table in found.items() if table is not None}
    if len(tables) < len(found) or not _is_broken(select, column, tables, scope):
        return
    homes = [(alias, name) for alias, table in tables.items() if (name := spelled(table, column.name))]
    if not homes:
        wanted = _plain(column.name)
        homes = [(a, c.name) for a, t in tables.items() for c in t.columns if _plain(c.name) == wanted]
    if len(homes) != 1:
        return
    (alias, name), before = homes[0], column.sql(dialect="sqlite")
    alias = next(s.alias_or_name for s in sources(select) if s.alias_or_name.lower() == alias)
    words = f"{before} -> {alias + '.' if column.table else ''}{name}: no such column there"
    if name.lower() != column.name.lower():
        yield _replaced(column.this, quote(name), words)
    if column.table and column.table.lower() != alias.lower():
        yield _replaced(column.args["table"], quote(alias), words)


def _is_broken(select: Any, column: Any, tables: dict[str, Table], scope: Scope) -> bool:
    """Whether SQLite finds no such column, here or in an enclosing query."""
    name, qualifier = column.name.lower(), column.table.lower()
    if not isinstance(column.this, exp.Identifier) or name in _ROW_NAMES or "start" not in column.this.meta:
        return False
    if qualifier in tables:
        return spelled(tables[qualifier], name) is None
    if qualifier:
        return all(qualifier not in scope.sources(outer) for outer in enclosing(column))
    if column.this.quoted or any(value.alias_or_name.lower() == name for value in _named(select)):
        return False
    around = [table for outer in enclosing(column) for table in scope.sources(outer).values()]
    return all(table is not None and spelled(table, name) is None for table in around)


def _named(select: Any) -> list[Any]:
    return [value for value in select.expressions if isinstance(value, exp.Alias)]


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")


def _replaced(identifier: Any, text: str, words: str) -> Edit:
    return Edit(identifier.meta["start"], identifier.meta["end"] + 1, text, words)
