"""A Spider query: its words, the tables and columns that they may name, and the tree that the grammar makes of them.

Exact match is defined by a small grammar over English word tokens, so a query whose words fall apart differently
("a=b" is one word, "a = b" three) gets another verdict. The words here are those of the Treebank word tokenizer on
text without quotes, which is all that the grammar ever passes to it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ALONE = re.compile(r"`+|[;@#$%&?!*\[\](){}<>«»“”‘’„]|--|\.{2,}")
_SEPARATOR = re.compile(r"([:,])(?=\D|$)")
_LAST_STOP = re.compile(r"(?<=[^.])\.(?=[\])}>»”’ ]*+\s*+$)")
_CONTRACTIONS = re.compile(r"(?i)\b(can)(not)\b|\b(gim|lem)(me)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b")
_COMPARISONS = frozenset("!><")


class GrammarError(ValueError):
    """The query is outside Spider's SQL subset, or names what the schema lacks."""


def split_words(text: str) -> list[str]:
    """Lower-cased words of ``text``, which holds no quotes."""
    text = _LAST_STOP.sub(" . ", text)
    text = _SEPARATOR.sub(r" \1 ", text)
    text = _ALONE.sub(r" \g<0> ", text)
    text = _CONTRACTIONS.sub(lambda m: " ".join(part for part in m.groups() if part), text)
    return text.lower().split()


def query_words(sql: str) -> list[str]:
    """Words of a query; a quoted string is one word that keeps its case and has double quotes.

    Single quotes count as double ones. ``! =``, ``> =`` and ``< =`` become one word.

    Raises:
        GrammarError: the number of quotes is odd.
    """
    pieces = sql.replace("'", '"').split('"')
    if len(pieces) % 2 == 0:
        raise GrammarError("unclosed quote")
    # Strings become placeholders before splitting, so that text glued to a string stays glued, as it officially does.
    strings = {f"__val_{i}__": f'"{piece}"' for i, piece in enumerate(pieces) if i % 2}
    bare = "".join(f"__val_{i}__" if i % 2 else piece for i, piece in enumerate(pieces))
    words: list[str] = []
    for word in split_words(bare):
        if word == "=" and words and words[-1] in _COMPARISONS:
            words[-1] += "="
        else:
            words.append(strings.get(word, word))
    return words


CLAUSES = frozenset(("select", "from", "where", "group", "order", "limit", "intersect", "union", "except"))
JOINS = frozenset(("join", "on", "as"))

Tables = Mapping[str, Sequence[str]]


class Names:
    """The words of one query and the names in them: those of ``tables`` (lower-case columns by lower-case table), or, with None,
    every word that looks like an identifier.

    Raises:
        GrammarError: a quote is not closed, or an alias is missing or is also a table.
    """

    def __init__(self, sql: str, tables: Tables | None) -> None:
        self.words = words = query_words(sql)
        self._tables = tables
        self._aliases: dict[str, str] = {}
        for place, word in enumerate(words if tables is not None else ()):
            if word == "as":
                if place + 1 == len(words):
                    raise GrammarError("nothing after AS")
                self._aliases[words[place + 1]] = words[place - 1]
        for table in tables or ():
            if table in self._aliases:
                raise GrammarError(f"alias {table} is also a table")
            self._aliases[table] = table

    def table(self, word: str) -> str:
        """Name of the table that ``word`` stands for."""
        if self._tables is None:
            return _identifier(word, word, word)
        table = self._aliases.get(word)
        if table is None or table not in self._tables:
            raise GrammarError(f"no such table: {word}")
        return table

    def column(self, word: str, defaults: Sequence[str]) -> str:
        """``table.column`` of a qualified word, or of a bare word found in one of the ``defaults`` tables."""
        if word == "*":
            return word
        if self._tables is None:
            plain = word.replace(".", "_").replace("$", "_")
            return _identifier(word, plain, word if "." in word else f"?.{word}")
        if "." in word:
            alias, _, column = word.partition(".")
            table = self._aliases.get(alias, "")
            if "." not in column and column in self._tables.get(table, ()):
                return f"{table}.{column}"
        else:
            for table in defaults:
                if word in self._tables[table]:
                    return f"{table}.{word}"
        raise GrammarError(f"no such column: {word}")


def _identifier(word: str, plain: str, name: str) -> str:
    if not plain.isidentifier() or word in CLAUSES | JOINS:
        raise GrammarError(f"not a name: {word}")
    return name


@dataclass(frozen=True)
class Column:
    """A column with the aggregate around it. ``name`` is ``table.column`` or ``*``; ``distinct`` None means ignored."""

    aggregate: str
    name: str
    distinct: bool | None


@dataclass(frozen=True)
class Term:
    """One or two columns joined by an arithmetic operator (``none`` for one column)."""

    operator: str
    left: Column
    right: Column | None


@dataclass(frozen=True)
class Condition:
    """``term [not] operator low [and high]``; a value is a nested query, or a number, string or column that counts."""

    negated: bool
    operator: str
    term: Term
    low: object
    high: object


# Conditions and their connectives, in the order written: officially the even places are read as conditions.
Conditions = tuple[Condition | str, ...]


@dataclass(frozen=True)
class Query:
    """One SELECT with its set operations. ``tables`` holds table names and nested queries of FROM."""

    select: tuple[tuple[str, Term], ...]
    distinct: bool | None
    tables: tuple["str | Query", ...]
    joins: Conditions
    where: Conditions
    group_by: tuple[Column, ...]
    having: Conditions
    order_by: tuple[str, tuple[Term, ...]] | None
    limited: bool
    intersect: "Query | None"
    union: "Query | None"
    except_: "Query | None"

    @property
    def conditions(self) -> list[Condition]:
        """All conditions of joins, WHERE and HAVING."""
        groups = (self.joins, self.where, self.having)
        return [unit for group in groups for unit in group[::2] if isinstance(unit, Condition)]

    @property
    def connectives(self) -> list[object]:
        """What is read as the connectives between them."""
        return [*self.joins[1::2], *self.where[1::2], *self.having[1::2]]


EMPTY = Query((), False, (), (), (), (), (), None, False, None, None, None)
