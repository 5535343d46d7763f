"""What the words of a query may name: the tables and columns of one database, or anything at all."""

from collections.abc import Mapping, Sequence

CLAUSES = frozenset(("select", "from", "where", "group", "order", "limit", "intersect", "union", "except"))
JOINS = frozenset(("join", "on", "as"))

Tables = Mapping[str, Sequence[str]]


class GrammarError(ValueError):
    """The query is outside Spider's SQL subset, or names what the schema lacks."""


class AnyTables:
    """Stands for a schema when none is known: every word that could be a name is one."""

    def column(self, word: str, aliases: Mapping[str, str], defaults: Sequence[str]) -> str:
        """Name of the column; anything that looks like an identifier is taken."""
        if word == "*":
            return word
        if not word.replace(".", "_").replace("$", "_").isidentifier() or word in CLAUSES | JOINS:
            raise GrammarError(f"not a column: {word}")
        return word if "." in word else f"?.{word}"

    def table(self, word: str, aliases: Mapping[str, str]) -> str:
        """Name of the table; anything that looks like an identifier is taken."""
        if not word.isidentifier() or word in CLAUSES | JOINS:
            raise GrammarError(f"not a table: {word}")
        return word

    def aliases(self, words: Sequence[str]) -> dict[str, str]:
        """No aliases are needed."""
        return {}


class SchemaTables:
    """Names of one database: ``tables`` maps lower-case table names to lower-case column names."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def aliases(self, words: Sequence[str]) -> dict[str, str]:
        """What each word after ``as`` stands for, and each table for itself."""
        found: dict[str, str] = {}
        for place, word in enumerate(words):
            if word == "as":
                if place + 1 == len(words):
                    raise GrammarError("nothing after AS")
                found[words[place + 1]] = words[place - 1]
        for table in self.tables:
            if table in found:
                raise GrammarError(f"alias {table} is also a table")
            found[table] = table
        return found

    def table(self, word: str, aliases: Mapping[str, str]) -> str:
        """Name of the table that ``word`` stands for."""
        table = aliases.get(word)
        if table is None or table not in self.tables:
            raise GrammarError(f"no such table: {word}")
        return table

    def column(self, word: str, aliases: Mapping[str, str], defaults: Sequence[str]) -> str:
        """``table.column`` of a qualified word, or of a bare word found in one of the ``defaults`` tables."""
        if word == "*":
            return word
        if "." in word:
            table, _, column = word.partition(".")
            if "." in column or column not in self.tables.get(aliases.get(table, ""), ()):
                raise GrammarError(f"no such column: {word}")
            return f"{aliases[table]}.{column}"
        for table in defaults:
            if word in self.tables[table]:
                return f"{table}.{word}"
        raise GrammarError(f"no such column: {word}")
