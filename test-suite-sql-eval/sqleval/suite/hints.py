"""What gold queries say about the values that matter: what columns are compared with, and which columns are joined.

An instance whose cells are drawn at random would leave most filters and joins without a row, and so every query with the
same empty answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqleval.outcome import Cell

_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.Between, exp.In)
_JOIN, _ON = re.compile(r"\bjoin\b", re.IGNORECASE), re.compile(r"\b(?:on|using|cross|natural)\b", re.IGNORECASE)
_LONGEST = 20_000  # characters
_MOST_OPEN_JOINS = 10  # each JOIN that waits for its ON doubles the time of sqlglot's parser
_LARGEST = 2**63 - 1
Place = tuple[str, str]  # table and column, lower case


@dataclass
class Hints:
    """``literals`` by lower-case column, in the order of the queries; ``joins``: pairs of columns that are set equal."""

    literals: dict[str, dict[Cell, None]] = field(default_factory=dict)
    joins: dict[tuple[Place, Place], None] = field(default_factory=dict)


def parsed(sql: str) -> Any:
    """The query's tree; None for text that sqlglot does not read, or for which it would take very long."""
    open_joins = len(_JOIN.findall(sql)) - len(_ON.findall(sql))
    if len(sql) > _LONGEST or open_joins > _MOST_OPEN_JOINS:
        return None
    try:
        return sqlglot.parse_one(sql, read="sqlite")
    except (SqlglotError, RecursionError, ValueError):
        return None


def read_hints(trees: Sequence[Any], columns: Mapping[str, Sequence[str]]) -> Hints:
    """Hints of parsed queries; ``columns`` are the schema's by table, lower case."""
    known = {column for names in columns.values() for column in names}
    hints = Hints()
    for tree in trees:
        for node in tree.find_all(*_COMPARED):
            _read(node, known, columns, hints)
    return hints


def _read(node: Any, known: set[str], columns: Mapping[str, Sequence[str]], hints: Hints) -> None:
    found = list(node.find_all(exp.Column))
    named = [column for column in found if column.name.lower() in known]
    # SQLite takes "France" for text where no column has that name.
    texts = [column.name for column in found if column.name.lower() not in known and not column.table]
    literals = list(node.find_all(exp.Literal))
    texts += [literal.name for literal in literals if literal.is_string]
    numbers = [_number(literal.name) for literal in literals if not literal.is_string]
    values: list[Cell] = [text.strip("%").encode(errors="ignore").decode() for text in texts]
    values += [number for number in numbers if number is not None]
    for column in named:
        hints.literals.setdefault(column.name.lower(), {}).update(dict.fromkeys(values))
    if isinstance(node, exp.EQ) and isinstance(node.this, exp.Column) and isinstance(node.expression, exp.Column):
        places = [_place(column, columns) for column in (node.this, node.expression)]
        if places[0] and places[1] and places[0] != places[1]:
            hints.joins[(places[0], places[1])] = None


def _number(text: str) -> int | float | None:
    """The number that a literal stands for; None where SQLite could not store it and its neighbours as they are."""
    try:
        number = float(text) if set(text) & set(".eE") else int(text)
    except ValueError:  # more digits than Python converts
        return None
    return number if abs(number) < _LARGEST else None


def _place(column: Any, columns: Mapping[str, Sequence[str]]) -> Place | None:
    """The table and column that a column means, as far as the SELECT around it tells."""
    select = column.find_ancestor(exp.Select)
    qualifier, name = column.table.lower(), column.name.lower()
    for table in select.find_all(exp.Table) if select else ():
        own = table.name.lower()
        if qualifier in ("", table.alias_or_name.lower()) and name in columns.get(own, ()):
            return own, name
    return None
