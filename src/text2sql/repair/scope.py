"""Which stored table and column a name in a query refers to."""

from collections.abc import Iterator
from typing import Any

from sqlglot import exp

from text2sql.schema import Schema, Table
from text2sql.sql.statement import Statement, sources


class Scope:
    """The names of one statement; ``None`` stands for a source that is no stored table (a subquery, WITH, unknown)."""

    def __init__(self, statement: Statement, schema: Schema) -> None:
        self._tables = {table.name.lower(): table for table in schema.tables}
        self._defined = {cte.alias_or_name.lower() for cte in statement.find(exp.CTE)}

    def sources(self, select: Any) -> dict[str, Table | None]:
        """What a SELECT reads from, by the lower-case name that its columns are qualified with."""
        return {source.alias_or_name.lower(): self._table(source) for source in sources(select)}

    def _table(self, source: Any) -> Table | None:
        if not isinstance(source, exp.Table) or source.name.lower() in self._defined:
            return None
        return self._tables.get(source.name.lower())

    def resolve(self, column: Any) -> tuple[Table, str] | None:
        """The stored table and column (in its own spelling) that a column names; None where that is not certain."""
        for select in enclosing(column):
            found = self.sources(select)
            if column.table:
                if column.table.lower() not in found:
                    continue
                table = found[column.table.lower()]
                name = spelled(table, column.name) if table else None
                return (table, name) if table and name else None
            having = [(t, name) for t in found.values() if t and (name := spelled(t, column.name))]
            if having or None in found.values():
                return having[0] if len(having) == 1 and None not in found.values() else None
        return None

    def is_text(self, column: Any) -> bool:
        """Whether SQLite takes a name in double quotes for text, because no source in reach has such a column."""
        if column.table or not isinstance(column.this, exp.Identifier) or not column.this.quoted:
            return False
        for select in enclosing(column):
            found = self.sources(select)
            aliases = {value.alias.lower() for value in select.expressions if isinstance(value, exp.Alias)}
            known = column.name.lower() in aliases or any(t and spelled(t, column.name) for t in found.values())
            if known or None in found.values():
                return False
        return True


def enclosing(node: Any) -> Iterator[Any]:
    """The SELECT that a node belongs to, and those around it."""
    while (node := node.find_ancestor(exp.Select)) is not None:
        yield node


def spelled(table: Table, name: str) -> str | None:
    """The table's own spelling of a column's name; None where it has no such column."""
    return next((column.name for column in table.columns if column.name.lower() == name.lower()), None)
