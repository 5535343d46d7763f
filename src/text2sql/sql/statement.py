"""A SQL text as tree and tokens, parsed once for all rules and rewards that ask.

Models write SQL that is broken in many ways. Nothing here raises, and a text that cannot be parsed still has tokens: an
unclosed quote or comment is closed for that purpose.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token

from text2sql.schema import Schema, SchemaError, schema_from_ddl

_SQLITE = SQLite()
_LONGEST = 20_000  # characters; no query is longer, and parsing takes time in proportion
_MOST_PARENTHESES = 200  # sqlglot's parser recurses
_MOST_OPEN_JOINS = 10  # it takes twice as long with each JOIN that waits for its ON
_KINDS = ((exp.Query, "select"), (exp.Insert, "insert"), (exp.Update, "update"), (exp.Delete, "delete"))
_PARSED = (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.DDL, exp.Drop, exp.Command, exp.Pragma)
AGGREGATES = (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.GroupConcat)

# sqlglot warns about statements it only passes through (PRAGMA, ...); a model's output is full of them.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Statement:
    """One SQL text. ``tree`` is None if it is not exactly one statement that sqlglot can parse; treat it as read-only."""

    sql: str
    tree: Any
    tokens: tuple[Any, ...]

    @property
    def kind(self) -> str:
        """``select``, ``insert``, ``update``, ``delete``, ``other``, or ``unparsed``."""
        other = "unparsed" if self.tree is None else "other"
        return next((name for kind, name in _KINDS if isinstance(self.tree, kind)), other)

    def words(self) -> tuple[str, ...]:
        """The tokens' texts in upper case, string literals as ``'``."""
        return tuple("'" if t.token_type.name == "STRING" else t.text.upper() for t in self.tokens)

    @cached_property
    def nodes(self) -> dict[type[Any], list[Any]]:
        """The tree's nodes by type; kept because many rules need them, and walking the tree takes most of the time."""
        found: dict[type[Any], list[Any]] = {}
        waiting = [self.tree] if self.tree is not None else []
        while waiting:
            node = waiting.pop()
            found.setdefault(type(node), []).append(node)
            for value in node.args.values():
                parts = value if type(value) is list else (value,)
                waiting.extend(part for part in reversed(parts) if isinstance(part, exp.Expression))
        return found

    def find(self, *kinds: type[Any]) -> list[Any]:
        """All nodes of these kinds; none where there is no tree."""
        return [node for kind, nodes in self.nodes.items() if issubclass(kind, kinds) for node in nodes]

    def joins(self) -> list[tuple[Any, Any]]:
        """All pairs of a SELECT and a JOIN of its own."""
        return [(select, join) for select in self.find(exp.Select) for join in select.args.get("joins") or ()]

    def tables(self) -> frozenset[str]:
        """Lower-case names of the tables that are read, without those that WITH defines."""
        defined = {cte.alias_or_name.lower() for cte in self.find(exp.CTE)}
        return frozenset(t.name.lower() for t in self.find(exp.Table) if t.name) - defined

    def columns(self) -> frozenset[str]:
        """Lower-case names of the columns that are mentioned, without their tables."""
        return frozenset(column.name.lower() for column in self.find(exp.Column))


@lru_cache(maxsize=16384)
def read_statement(sql: str) -> Statement:
    """Parse a SQL text. Never raises; results are cached."""
    tokens, is_whole = _tokens(sql)
    too_hard = len(sql) > _LONGEST or sql.count("(") > _MOST_PARENTHESES or _open_joins(tokens) > _MOST_OPEN_JOINS
    if not is_whole or too_hard:
        return Statement(sql, None, tokens)
    trees = _trees(sql, tokens)
    # Text that is not SQL at all may still parse, as an expression ("hello" is a column).
    return Statement(sql, trees[0] if len(trees) == 1 and isinstance(trees[0], _PARSED) else None, tokens)


@lru_cache(maxsize=4096)
def parse_ddl(text: str) -> Schema:
    """The tables of a prompt's DDL text; none if it cannot be read, so that rules which need a schema find nothing."""
    try:
        return schema_from_ddl(text)
    except SchemaError:
        return Schema(())


def _open_joins(tokens: Sequence[Token]) -> int:
    """The most JOINs that wait for an ON or USING at any place."""
    waiting = most = 0
    for token in tokens:
        name = token.token_type.name
        waiting = max(0, waiting + (name == "JOIN") - (name in ("ON", "USING", "CROSS", "NATURAL")))
        most = max(most, waiting)
    return most


def _trees(sql: str, tokens: Sequence[Token]) -> list[Any]:
    try:
        return [tree for tree in _SQLITE.parser().parse(list(tokens), sql) if tree is not None]
    except (SqlglotError, RecursionError, ValueError, AttributeError, TypeError):
        return []


def _tokens(sql: str) -> tuple[tuple[Token, ...], bool]:
    """Tokens, and whether the text had them as it stands, without a quote or comment mark added at its end."""
    for closing in ("", "'", '"', "`", "]", "*/"):
        try:
            return tuple(_SQLITE.tokenize(sql[:_LONGEST] + closing)), not closing
        except (SqlglotError, ValueError):
            continue
    return (), False


def equivalent(one: str, other: str) -> bool:
    """Whether two queries are the same but for case, aliases, spacing, and the order of operands and conditions.

    True only where the trees show it; False does not prove that the two differ.
    """
    is_parsed = all(read_statement(sql).tree is not None for sql in (one, other))
    return is_parsed and canonical(one) == canonical(other)


@lru_cache(maxsize=16384)
def canonical(sql: str) -> str:
    """A parsed query in a form that is equal for :func:`equivalent` queries; unparsed text stays as it is."""
    statement = read_statement(sql)
    if statement.tree is None:
        return sql
    tree = _trees(sql, statement.tokens)[0]  # a second tree to change; copying takes longer than parsing
    for select in list(tree.find_all(exp.Select)):
        _without_aliases(select)
    for identifier in tree.find_all(exp.Identifier):
        identifier.set("this", identifier.name.lower())
        identifier.set("quoted", False)
    _sort_operands(tree)
    return str(tree.sql(dialect=SQLite, comments=False))


def sources(select: Any) -> list[Any]:
    """Tables and subqueries that a SELECT reads from, in order: FROM, then its JOINs."""
    start = select.args.get("from_") or select.args.get("from")  # the key before and after sqlglot 28
    found = [start.this] if start is not None else []
    return found + [join.this for join in select.args.get("joins") or ()]


def own(select: Any, node: Any, *kinds: type[Any]) -> list[Any]:
    """Nodes of these kinds in ``node``, a part of ``select``, that do not belong to a SELECT nested in it."""
    return [found for found in node.find_all(*kinds) if found.find_ancestor(exp.Select) is select]


def _without_aliases(select: Any) -> None:
    """Qualify columns by table names instead of aliases; drop qualifiers where there is one table only."""
    tables = [source for source in sources(select) if isinstance(source, exp.Table)]
    named = {table.alias_or_name.lower(): table.name for table in tables}
    alone = len(sources(select)) == 1
    if len({table.name.lower() for table in tables}) == len(tables):
        for column in select.find_all(exp.Column):
            name = column.table.lower()
            if name in named:
                column.set("table", None if alone else exp.to_identifier(named[name]))
        for table in tables:
            table.set("alias", None)
    for value in list(select.expressions):
        if isinstance(value, exp.Alias):
            value.replace(value.this)


def _sort_operands(tree: Any) -> None:
    """Put operands of AND, OR, = and <>, and the members of IN, into the order of their text."""
    for node in reversed(list(tree.find_all(exp.And, exp.Or, exp.EQ, exp.NEQ, exp.In))):
        if isinstance(node, exp.In):
            node.set("expressions", sorted(node.expressions, key=_text))
            continue
        parts = list(node.flatten(unnest=False)) if isinstance(node, exp.And | exp.Or) else [node.this, node.expression]
        left, *between, last = sorted((part.copy() for part in parts), key=_text)
        for part in between:
            left = type(node)(this=left, expression=part)
        node.set("this", left)
        node.set("expression", last)


def _text(node: Any) -> str:
    return str(node.sql(dialect=SQLite))
