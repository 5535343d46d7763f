"""Reads Spider's SQL subset: the common ground of exact match, partial scores and hardness.

The grammar is deliberately the benchmark's own and not SQL's: what it cannot read (a query that uses ``CASE``, a
condition in brackets, an unknown column) counts as unparsed in the official figures, so reading more than it does
would change published numbers.
"""

from collections.abc import Mapping, Sequence

from sqleval.names import CLAUSES, JOINS, AnyTables, GrammarError, SchemaTables, Tables
from sqleval.tree import Column, Condition, Conditions, Query, Term
from sqleval.words import query_words

SET_OPERATORS = ("intersect", "union", "except")
AGGREGATES = frozenset(("none", "max", "min", "count", "sum", "avg"))
ARITHMETIC = frozenset(("none", "-", "+", "*", "/"))
OPERATORS = frozenset(("not", "between", "=", ">", "<", ">=", "<=", "!=", "in", "like", "is", "exists"))
_END = CLAUSES | {")", ";"}
_CONDITION_END = _END | JOINS
_VALUE_END = CLAUSES | JOINS | {",", ")", "and"}


class _Reader:
    """A cursor over the words of one query; every method reads one construct and moves on."""

    def __init__(
        self, words: Sequence[str], names: AnyTables | SchemaTables, aliases: Mapping[str, str], place: int = 0
    ) -> None:
        self.words = words
        self.names = names
        self.known = aliases
        self.place = place

    @property
    def word(self) -> str:
        """The current word, or an empty one at the end."""
        return self.words[self.place] if self.place < len(self.words) else ""

    @property
    def more(self) -> bool:
        return self.place < len(self.words)

    def take(self, *wanted: str) -> bool:
        """Skip the current word if it is one of ``wanted``."""
        found = self.more and self.word in wanted
        self.place += found
        return found

    def need(self, wanted: str) -> None:
        if not self.take(wanted):
            raise GrammarError(f"expected {wanted!r}, found {self.word!r}")

    def next(self) -> str:
        if not self.more:
            raise GrammarError("the query ends too early")
        self.place += 1
        return self.words[self.place - 1]

    def column(self, defaults: Sequence[str]) -> Column:
        bracket = self.take("(")
        if self.word in AGGREGATES:
            aggregate = self.next()
            self.need("(")
            distinct = self.take("distinct")
            name = self.names.column(self.next(), self.known, defaults)
            self.need(")")
            # The official grammar leaves a bracket before an aggregate open, and its closing one to the caller.
            return Column(aggregate, name, distinct)
        distinct = self.take("distinct")
        column = Column("none", self.names.column(self.next(), self.known, defaults), distinct)
        if bracket:
            self.need(")")
        return column

    def term(self, defaults: Sequence[str]) -> Term:
        bracket = self.take("(")
        left = self.column(defaults)
        operator, right = "none", None
        if self.word in ARITHMETIC:
            operator = self.next()
            right = self.column(defaults)
        if bracket:
            self.need(")")
        return Term(operator, left, right)

    def value(self, defaults: Sequence[str]) -> object:
        start = self.place
        bracket = self.take("(")
        if not self.more:
            raise GrammarError("the query ends before a value")
        value: object
        if self.word == "select":
            value = self.query()
        elif '"' in self.word:
            value = self.next()
        else:
            try:
                value = float(self.word)
                self.place += 1
            except ValueError:
                while self.more and self.word not in _VALUE_END:
                    self.place += 1
                inner = _Reader(self.words[start : self.place], self.names, self.known)
                value = inner.column(defaults)
        if bracket:
            self.need(")")
        return value

    def conditions(self, defaults: Sequence[str]) -> Conditions:
        found: list[Condition | str] = []
        while self.more:
            term = self.term(defaults)
            negated = self.take("not")
            operator = self.next()
            if operator not in OPERATORS:
                raise GrammarError(f"not an operator: {operator}")
            low, high = self.value(defaults), None
            if operator == "between":
                self.need("and")
                high = self.value(defaults)
            found.append(Condition(negated, operator, term, low, high))
            if self.word in _CONDITION_END:
                break
            if self.word in ("and", "or"):
                found.append(self.next())
        return tuple(found)

    def select(self, defaults: Sequence[str]) -> tuple[bool, tuple[tuple[str, Term], ...]]:
        self.need("select")
        distinct = self.take("distinct")
        items: list[tuple[str, Term]] = []
        while self.more and self.word not in CLAUSES:
            aggregate = self.next() if self.word in AGGREGATES else "none"
            items.append((aggregate, self.term(defaults)))
            self.take(",")
        return distinct, tuple(items)

    def from_(self) -> tuple[tuple[str | Query, ...], Conditions, list[str]]:
        try:
            self.place = list(self.words).index("from", self.place) + 1
        except ValueError:
            raise GrammarError("no FROM") from None
        tables: list[str | Query] = []
        defaults: list[str] = []
        joins: list[Condition | str] = []
        while self.more:
            bracket = self.take("(")
            if self.word == "select":
                tables.append(self.query())
            else:
                self.take("join")
                table = self.names.table(self.next(), self.known)
                self.place += 2 * (self.word == "as")
                tables.append(table)
                defaults.append(table)
            if self.take("on"):
                found = self.conditions(defaults)
                joins += ["and", *found] if joins else found
            if bracket:
                self.need(")")
            if self.word in _END:
                break
        return tuple(tables), tuple(joins), defaults

    def _listed(self, read: str, defaults: Sequence[str]) -> tuple[list[Term | Column], str]:
        """Comma-separated terms or columns; the direction is that of the last ASC or DESC seen."""
        self.need("by")
        found: list[Term | Column] = []
        direction = "asc"
        while self.more and self.word not in _END:
            found.append(self.term(defaults) if read == "term" else self.column(defaults))
            if read == "term" and self.word in ("asc", "desc"):
                direction = self.next()
            if not self.take(","):
                break
        return found, direction

    def query(self) -> Query:
        start = self.place
        bracket = self.take("(")
        head = self.place
        self.place = start
        tables, joins, defaults = self.from_()
        body, self.place = self.place, head
        distinct, select = self.select(defaults)
        self.place = body
        where = self.conditions(defaults) if self.take("where") else ()
        group_by = tuple(self._listed("column", defaults)[0]) if self.take("group") else ()
        having = self.conditions(defaults) if self.take("having") else ()
        order_by = None
        if self.take("order"):
            terms, direction = self._listed("term", defaults)
            order_by = (direction, tuple(terms))
        limited = self.take("limit")
        if limited:
            self.next()
        self._semicolons()
        if bracket:
            self.need(")")
        self._semicolons()
        operator = self.next() if self.word in SET_OPERATORS else ""
        other = self.query() if operator else None
        sets = [other if operator == name else None for name in SET_OPERATORS]
        return Query(select, distinct, tables, joins, where, group_by, having, order_by, limited, *sets)  # type: ignore[arg-type]

    def _semicolons(self) -> None:
        while self.take(";"):
            pass


def parse(sql: str, tables: Tables | None = None) -> Query:
    """Tree of the first query in ``sql``; what follows it is ignored, as officially.

    ``tables`` maps lower-case table names to lower-case column names; None takes every name.

    Raises:
        GrammarError: the query is outside the subset or names an unknown table or column.
    """
    names = AnyTables() if tables is None else SchemaTables(tables)
    try:
        words = query_words(sql)
        return _Reader(words, names, names.aliases(words)).query()
    except RecursionError:
        raise GrammarError("nested too deeply") from None
    except ValueError as error:
        raise GrammarError(str(error)) from error
