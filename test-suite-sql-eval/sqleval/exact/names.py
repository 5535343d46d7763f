"""What the words of a query may name: the tables and columns of one database, or anything at all."""

from collections.abc import Mapping, Sequence

from sqleval.exact.words import GrammarError

CLAUSES = frozenset(("select", "from", "where", "group", "order", "limit", "intersect", "union", "except"))
JOINS = frozenset(("join", "on", "as"))

Tables = Mapping[str, Sequence[str]]


class Names:
    """Names in the words of one query: those of ``tables`` (lower-case columns by lower-case table), or, with None,
    every word that looks like an identifier.

    Raises:
        GrammarError: an alias is missing or is also a table.
    """

    def __init__(self, words: Sequence[str], tables: Tables | None) -> None:
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
