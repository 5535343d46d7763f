"""Names in SQL text: which of them the schema spells differently, and which a text mentions."""

import re
from collections.abc import Iterator
from functools import lru_cache

from text2sql.sql.ddl import parse_ddl
from text2sql.sql.statement import read_statement

_WORD = re.compile(r"[a-z0-9]+")


def in_schema_case(sql: str, schema: str) -> str:
    """``sql`` with identifiers spelled as the schema spells them. SQLite ignores case in ASCII letters only, so this
    changes what runs for names such as ``Größe``. Quoted text that is no name of the schema stays."""
    spelled = {name.casefold(): name for name in _names(schema)}
    parts, end = [], 0
    for token in read_statement(sql).tokens:
        name = spelled.get(token.text.casefold())
        literal = token.token_type.name == "STRING"
        if name is not None and name != token.text and not literal:
            original = sql[token.start : token.end + 1]
            parts += [sql[end : token.start], original.replace(token.text, name)]
            end = token.end + 1
    return "".join((*parts, sql[end:]))


@lru_cache(maxsize=4096)
def schema_names(schema: str) -> frozenset[str]:
    """Lower-case names of all tables and columns of ``CREATE TABLE`` text."""
    return frozenset(name.lower() for name in _names(schema))


def _names(schema: str) -> Iterator[str]:
    for table in parse_ddl(schema).tables:
        yield table.name
        yield from (column.name for column in table.columns)


def mentioned(names: frozenset[str], text: str) -> frozenset[str]:
    """Which of the lower-case names a text mentions as words of their own; ``pet_name`` may be written ``pet name``."""
    lower = text.lower()
    spaced = f" {' '.join(_WORD.findall(lower))} "
    return frozenset(name for name in names if _is_mentioned(name, lower, spaced))


def _is_mentioned(name: str, lower: str, spaced: str) -> bool:
    words = _WORD.findall(name)
    return f" {' '.join(words)} " in spaced if words else name in lower
