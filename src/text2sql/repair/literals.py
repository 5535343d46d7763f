"""The string literals of a query that are compared with a stored column: the ones whose spelling the database knows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from text2sql.repair.scope import Scope
from text2sql.schema import Schema
from text2sql.sql.statement import Statement


@dataclass(frozen=True)
class Literal:
    """A string and the column that it is compared with; ``sql[start:end]`` is the literal with its quotes."""

    text: str
    table: str
    column: str
    start: int
    end: int


def compared_literals(statement: Statement, schema: Schema) -> list[Literal]:
    """String literals in ``column = 'x'``, ``<>`` and ``IN``, where the column is certain; none without a tree.

    Text in double quotes counts where SQLite takes it for a string. Patterns (LIKE) and ranges are left out: what they
    are compared with need not be stored.
    """
    scope = Scope(statement, schema)
    found = {}
    for column, value in _comparisons(statement):
        place = value.this.meta if isinstance(value, exp.Column) else value.meta
        target = scope.resolve(column)
        is_text = scope.is_text(value) if isinstance(value, exp.Column) else value.is_string
        if target and "start" in place and is_text:
            start, end = place["start"], place["end"] + 1
            if statement.sql[start : start + 1] in ("'", '"'):
                found[start] = Literal(value.name, target[0].name, target[1], start, end)
    return [found[start] for start in sorted(found)]


def _comparisons(statement: Statement) -> Iterator[tuple[Any, Any]]:
    """Columns and what may be a literal on the other side."""
    pairs = [(node.this, node.expression) for node in statement.find(exp.EQ, exp.NEQ)]
    pairs += [pair[::-1] for pair in pairs]
    pairs += [(node.this, value) for node in statement.find(exp.In) for value in node.expressions]
    for column, value in pairs:
        if isinstance(column, exp.Column) and isinstance(value, exp.Literal | exp.Column):
            yield column, value
