"""Reads Spider's SQL subset: the common ground of exact match, partial scores and hardness.

The grammar is deliberately the benchmark's own and not SQL's: what it cannot read (a query that uses ``CASE``, a
condition in brackets, an unknown column) counts as unparsed in the official figures, so reading more than it does
would change published numbers.
"""

from collections.abc import Sequence

from sqleval.exact.query import CLAUSES, JOINS, Column, Condition, Conditions, GrammarError, Names, Query, Tables, Term

SET_OPERATORS = ("intersect", "union", "except")
AGGREGATES = frozenset(("none", "max", "min", "count", "sum", "avg"))
ARITHMETIC = frozenset(("none", "-", "+", "*", "/"))
OPERATORS = frozenset(("not", "between", "=", ">", "<", ">=", "<=", "!=", "in", "like", "is", "exists"))
_END = CLAUSES | {")", ";"}
_CONDITION_END = _END | JOINS
_VALUE_END = CLAUSES | JOINS | {",", ")", "and"}


class _Reader:
    """A cursor over the words of one query; every method reads one construct and moves on."""

    def __init__(self, words: Sequence[str], names: Names) -> None:
        self.words = words
        self.names = names
        self.place = 0
        self.keep_values = False

    @property
    def word(self) -> str:
        """The current word, or an empty one at the end."""
        return self.words[self.place] if self.place < len(self.words) else ""

    def take(self, *wanted: str) -> bool:
        """Skip the current word if it is one of ``wanted``."""
        found = self.word in wanted
        self.place += found
        return found

    def need(self, wanted: str) -> None:
        if not self.take(wanted):
            raise GrammarError(f"expected {wanted!r}, found {self.word!r}")

    def next(self) -> str:
        if not self.word:
            raise GrammarError("the query ends too early")
        self.place += 1
        return self.words[self.place - 1]

    def column(self, defaults: Sequence[str]) -> Column:
        bracket = self.take("(")
        if self.word in AGGREGATES:
            aggregate = self.next()
            self.need("(")
            distinct = self.take("distinct")
            name = self.names.column(self.next(), defaults)
            self.need(")")
            # The official grammar leaves a bracket before an aggregate open, and its closing one to the caller.
            return Column(aggregate, name, distinct)
        distinct = self.take("distinct")
        column = Column("none", self.names.column(self.next(), defaults), distinct)
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
        """A nested query, else None: officially, other values count inside the nested queries of FROM only."""
        start = self.place
        bracket = self.take("(")
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
                while self.word and self.word not in _VALUE_END:
                    self.place += 1
                value = _Reader(self.words[start : self.place], self.names).column(defaults)
        if bracket:
            self.need(")")
        return value if self.keep_values or isinstance(value, Query) else None

    def conditions(self, defaults: Sequence[str]) -> Conditions:
        found: list[Condition | str] = []
        while self.word:
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
        while self.word and self.word not in CLAUSES:
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
        while self.word:
            bracket = self.take("(")
            if self.word == "select":
                outer, self.keep_values = self.keep_values, True
                tables.append(self.query())
                self.keep_values = outer
            else:
                self.take("join")
                table = self.names.table(self.next())
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

    def columns(self, defaults: Sequence[str]) -> tuple[Column, ...]:
        self.need("by")
        found: list[Column] = []
        while self.word and self.word not in _END:
            found.append(self.column(defaults))
            if not self.take(","):
                break
        return tuple(found)

    def ordering(self, defaults: Sequence[str]) -> tuple[str, tuple[Term, ...]]:
        """The direction is that of the last ASC or DESC seen."""
        self.need("by")
        found: list[Term] = []
        direction = "asc"
        while self.word and self.word not in _END:
            found.append(self.term(defaults))
            if self.word in ("asc", "desc"):
                direction = self.next()
            if not self.take(","):
                break
        return direction, tuple(found)

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
        group_by = self.columns(defaults) if self.take("group") else ()
        having = self.conditions(defaults) if self.take("having") else ()
        order_by = self.ordering(defaults) if self.take("order") else None
        limited = self.take("limit")
        if limited:
            self.next()
        self.semicolons()
        if bracket:
            self.need(")")
        self.semicolons()
        operator = self.next() if self.word in SET_OPERATORS else ""
        other = self.query() if operator else None
        sets = {name.replace("except", "except_"): other if operator == name else None for name in SET_OPERATORS}
        return Query(select, distinct, tables, joins, where, group_by, having, order_by, limited, **sets)

    def semicolons(self) -> None:
        while self.take(";"):
            pass


def parse(sql: str, tables: Tables | None = None) -> Query:
    """Tree of the first query in ``sql``; what follows it is ignored, as officially.

    ``tables`` maps lower-case table names to lower-case column names; None takes every name.

    Raises:
        GrammarError: the query is outside the subset or names an unknown table or column.
    """
    try:
        names = Names(sql, tables)
        return _Reader(names.words, names).query()
    except RecursionError:
        raise GrammarError("nested too deeply") from None
