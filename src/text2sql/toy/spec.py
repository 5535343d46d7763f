"""What a toy database is, before it has rows: the form of ``data/toy/*.yaml`` and of random schemas alike."""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["id", "ref", "name", "category", "integer", "real", "date"]


@dataclass(frozen=True)
class ColumnSpec:
    """One column. ``kind`` decides type and values.

    id: INTEGER PRIMARY KEY, 1..rows. ref: INTEGER foreign key to the primary key of table ``to``. name: TEXT
    from ``values``, mostly distinct. category: TEXT from ``values``, repeated. integer, real: between ``low``
    and ``high``, with ties. date: TEXT 'YYYY-MM-DD' between years ``low`` and ``high``. ``nulls``: fraction
    of NULLs.
    """

    name: str
    kind: Kind
    to: str = ""
    values: tuple[str, ...] = ()
    low: float = 0
    high: float = 100
    nulls: float = 0.0


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class DatabaseSpec:
    """A database; tables come in an order in which foreign keys point backwards.

    ``split``: train, val or test.
    """

    db_id: str
    tables: tuple[TableSpec, ...]
    split: str = ""
    domain: str = field(default="", compare=False)
