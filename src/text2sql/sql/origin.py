"""Where a query's values come from: the database, the query's own text, or a random function; and whether all are shown.

A query whose values are constants or random may give the right result without reading the data.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

from sqlglot import exp

from text2sql.sql.statement import read_statement, sources

_OF_ROWS = (exp.Count, exp.Sum, exp.Star)  # the number of rows is data, even of a constant argument
# Most queries need no tree: their first value is a column or an aggregate of one, and FROM begins with a table.
_COLUMN = r"(?!null\b|true\b|false\b|current_)(?:[a-z_]\w*\.)?(?:[a-z_]\w*(?!\w*\s*\()|\*)"
_PLAIN = re.compile(
    rf"\s*select\s+(?:distinct\s+)?(?:{_COLUMN}|(?:count|sum|avg|min|max)\s*\(\s*{_COLUMN}\s*\))\s*(?:,|from\b|as\b)",
    re.IGNORECASE,
)
_FROM_TABLE = re.compile(r"\bfrom\s+(?!sqlite_|pragma_|json_|values\b)[a-z_]\w*(?!\w*\s*\()", re.IGNORECASE)


@lru_cache(maxsize=16384)
def is_constant(sql: str) -> bool:
    """Whether a query's values are written into it instead of being read from the database; False for other text."""
    if sql.lower().count("select") == 1 and _PLAIN.match(sql) and _FROM_TABLE.search(sql):
        return False
    tree = read_statement(sql).tree
    return isinstance(tree, exp.Query | exp.Values) and not _reads(tree, {}, False)


def is_random(sql: str) -> bool:
    """Whether a query calls a random function."""
    words = read_statement(sql).words() if "random" in sql.lower() else ()
    return any(word in ("RANDOM", "RANDOMBLOB") and following == "(" for word, following in pairwise(words))


def cuts_off(sql: str) -> bool:
    """Whether a query keeps some rows and drops the rest, as LIMIT 100 does, which may drop none today; LIMIT 1 aside."""
    limits = read_statement(sql).find(exp.Limit) if "limit" in sql.lower() else ()
    return any(limit.expression.sql() != "1" for limit in limits)


def _reads(query: Any, defined: Mapping[str, bool], outside: bool) -> bool:
    """Whether some value of the result is data; ``defined`` says it of WITH's tables, ``outside`` of enclosing queries."""
    known = dict(defined)
    clause = query.args.get("with_") or query.args.get("with")  # the key after and before sqlglot 28
    for table in clause.expressions if clause is not None else ():
        known[table.alias_or_name.lower()] = False  # a recursive table adds no data by reading itself
        known[table.alias_or_name.lower()] = _reads(table.this, known, outside)
    if isinstance(query, exp.SetOperation | exp.Subquery):
        sides = (query.this, query.args.get("expression"))
        return any(_reads(side, known, outside) for side in sides if side is not None)
    if not isinstance(query, exp.Select):
        return False
    data = {source.alias_or_name.lower(): _has_data(source, known, outside) for source in sources(query)}
    return any(_is_data(value, data, known, outside) for value in query.expressions)


def _has_data(source: Any, known: Mapping[str, bool], outside: bool) -> bool:
    if isinstance(source, exp.Table):
        name = source.name.lower()
        is_table = isinstance(source.this, exp.Identifier) and not name.startswith(("sqlite_", "pragma_"))
        return known.get(name, is_table)
    return isinstance(source, exp.Subquery) and _reads(source, known, outside)


def _is_data(value: Any, data: Mapping[str, bool], known: Mapping[str, bool], outside: bool) -> bool:
    anywhere = any(data.values())
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, exp.Query):
            found = _reads(node, known, anywhere or outside)
        elif isinstance(node, exp.Column):
            found = data.get(node.table.lower(), anywhere or outside)
        elif isinstance(node, exp.Exists):
            inner = [source for select in node.find_all(exp.Select) for source in sources(select)]
            found = any(_has_data(source, known, outside) for source in inner)
        else:
            found = anywhere and isinstance(node, _OF_ROWS)
        if found:
            return True
        if not isinstance(node, exp.Query | exp.Column):
            waiting.extend(node.iter_expressions())
    return False
