"""The one model of a schema, whatever it was read from."""

import re
from collections.abc import Callable
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = frozenset(
    "add all alter and as asc between by case check column create cross current_date default delete desc distinct drop "
    "else end except exists foreign from full group having if in index inner insert intersect into is join key left "
    "like limit natural not null on or order outer primary references right select set table then to transaction "
    "union unique update using values when where with".split()
)


@dataclass(frozen=True)
class Column:
    """A column; ``type`` is the declared type in upper case, or empty."""

    name: str
    type: str


@dataclass(frozen=True)
class ForeignKey:
    """Column ``column`` of a table refers to ``ref_table``.``ref_column``."""

    column: str
    ref_table: str
    ref_column: str


@dataclass(frozen=True)
class Table:
    """A table with its keys; ``primary_key`` lists column names in key order."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()


@dataclass(frozen=True)
class Schema:
    """All tables of a database, in the order of their creation."""

    tables: tuple[Table, ...]

    def keep(self, wanted: Callable[[str, str], bool]) -> "Schema":
        """The part whose columns ``wanted(table, column)`` names; a foreign key stays while both its ends do."""
        columns = {t.name: tuple(c for c in t.columns if wanted(t.name, c.name)) for t in self.tables}
        left = {(t.lower(), c.name.lower()) for t, kept in columns.items() for c in kept}
        tables = []
        for name, table in ((table.name, table) for table in self.tables if columns[table.name]):
            has = [(name.lower(), key.lower()) in left for key in table.primary_key]
            foreign = tuple(
                key
                for key in table.foreign_keys
                if {(name.lower(), key.column.lower()), (key.ref_table.lower(), key.ref_column.lower())} <= left
            )
            tables.append(Table(name, columns[name], table.primary_key if all(has) else (), foreign))
        return Schema(tuple(tables))


def quote(identifier: str) -> str:
    """The identifier, in double quotes only where SQLite needs them."""
    if _PLAIN.match(identifier) and identifier.lower() not in _RESERVED:
        return identifier
    return '"' + identifier.replace('"', '""') + '"'
