"""The eleven issues of the process reward, with its severities; each rule's docstring says exactly what counts.

Names and severities are those of the published process reward. The conditions are our own, chosen so that gold SQL of
Spider and of the toy databases has almost no issues. Rules that need the question find nothing without one.
"""

import re
from datetime import date
from functools import lru_cache
from itertools import pairwise

from sqlglot import exp

from text2sql.schema import Schema
from text2sql.sql import question as asks
from text2sql.sql.issues import issue
from text2sql.sql.joins import connected, join_problem, unknown_qualifier
from text2sql.sql.statement import AGGREGATES, Statement, own, sources

_DATE_SHAPE = re.compile(r"\s*(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})(?:[ T]\d{1,2}:\d{2}.*)?\s*\Z")
_ISO = re.compile(r"\s*(\d{4})-(\d{2})-(\d{2})")
_TIME_NAME = re.compile(
    r"date|time|year|month|day|since|until|born|birth|founded|opened|日期|时间|年|月", re.IGNORECASE
)
_MONTH_NAME = re.compile(
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|(?:sept?|oct|nov|dec)(?:[a-z]*ber)?)\Z",
    re.IGNORECASE,
)
_TIME_WORDS = frozenset(
    ("DATE", "DATETIME", "TIME", "STRFTIME", "JULIANDAY", "UNIXEPOCH", "CURRENT_DATE", "CURRENT_TIMESTAMP")
)
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In, exp.Like)


@issue("missing_where", 0.3, alias="缺少WHERE条件")
def missing_where(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """UPDATE or DELETE of a whole table; or the question says which rows it means and nothing in the query restricts
    rows (no WHERE, HAVING, LIMIT, set operation, CASE, FILTER, or comparison with a literal)."""
    words = statement.words()
    if words[:1] in (("UPDATE",), ("DELETE",)):
        return None if "WHERE" in words else "every row of the table is changed"
    if "SELECT" not in words or not asks.CONDITION.search(question):
        return None
    if {"WHERE", "HAVING", "LIMIT", "INTERSECT", "EXCEPT", "CASE", "FILTER", "EXISTS"}.intersection(words):
        return None
    if any(node.find(exp.Literal) for node in statement.find(*_COMPARISONS)):  # in ON, or as in SUM(kind = 'gold')
        return None
    return "the question names a condition, the query has none"


@issue("missing_time_range", 0.4, alias="缺少时间范围")
def missing_time_range(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """The question restricts itself to a time, and no literal, date function or time-like column is in any condition."""
    words = statement.words()
    if "SELECT" not in words or not asks.TIME_RANGE.search(question):
        return None
    texts = {token.text for token in statement.tokens}
    if any(year in text for year in asks.YEAR.findall(question) for text in texts) or _TIME_WORDS.intersection(words):
        return None
    if statement.tree is None:
        return None if "WHERE" in words else "the question names a time, the query does not restrict it"
    if any(_MONTH_NAME.match(column.name) for column in statement.find(exp.Column)):
        return None  # a column for each month
    conditions = statement.find(exp.Where, exp.Having)
    conditions += [join.args["on"] for join in statement.find(exp.Join) if join.args.get("on") is not None]
    for condition in conditions:
        if any(_TIME_NAME.search(column.name) for column in condition.find_all(exp.Column)):
            return None
        if any(lit.is_string and _DATE_SHAPE.match(lit.name) for lit in condition.find_all(exp.Literal)):
            return None
    return "the question names a time, the query does not restrict it"


@issue("incorrect_join", 0.5, alias="错误的连接")
def incorrect_join(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """A join condition that relates nothing: only constants, a column with itself, or columns of one side only. With a
    schema: an equality of two columns of which neither is a key, between tables that a foreign key relates."""
    problems = (join_problem(select, join, schema) for select, join in statement.joins())
    return next(filter(None, problems), None)


@issue("missing_join_condition", 0.45, alias="缺少连接条件")
def missing_join_condition(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """JOIN without ON or USING (NATURAL and CROSS JOIN need none), unless WHERE relates the tables."""
    if statement.tree is None:
        words = statement.words()
        joins = words.count("JOIN") - words.count("NATURAL") - words.count("CROSS")
        return "JOIN without ON" if joins > words.count("ON") + words.count("USING") else None
    for select, join in statement.joins():
        is_bare = isinstance(join.args.get("on"), exp.Boolean)  # what sqlglot puts where ON is missing
        if is_bare and not connected(select, join):
            return f"{join.this.alias_or_name} is joined without a condition"
    return None


@issue("inconsistent_alias", 0.25, alias="别名不一致")
def inconsistent_alias(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """A column's qualifier names no table or alias in scope (a table that has an alias goes by that alone), or one
    SELECT gives the same alias twice."""
    for select in statement.find(exp.Select):
        names = [source.alias_or_name.lower() for source in sources(select) if source.alias_or_name]
        if twice := next((name for name in names if names.count(name) > 1), None):
            return f"{twice} names two tables"
        if unknown := unknown_qualifier(select):
            return f"{unknown} names no table in scope"
    return None


@issue("missing_group_by", 0.35, alias="缺少GROUP BY")
def missing_group_by(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """No GROUP BY, and aggregates beside bare columns, or HAVING without aggregates. A single min or max does not count:
    SQLite then takes bare columns from that row."""
    for select in statement.find(exp.Select):
        if select.args.get("group") is not None:
            continue
        found = [node for value in select.expressions for node in own(select, value, *AGGREGATES)]
        found = [node for node in found if not isinstance(node.parent, exp.Window)]
        if select.args.get("having") is not None and not found:
            return "HAVING without GROUP BY"
        if not found or (len(found) == 1 and isinstance(found[0], exp.Min | exp.Max)):
            continue
        for value in select.expressions:
            for column in own(select, value, exp.Column):
                if column.find_ancestor(*AGGREGATES, exp.Window) is None:
                    return f"{column.sql()} is neither aggregated nor grouped"
    return None


@issue("unclosed_parenthesis", 0.8, alias="括号未闭合")
def unclosed_parenthesis(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """Parentheses outside quotes and comments that do not match."""
    depth = 0
    for word in statement.words():
        depth += (word == "(") - (word == ")")
        if depth < 0:
            return "a parenthesis is closed that was never opened"
    return f"{depth} not closed" if depth else None


@issue("empty_in_clause", 0.7, alias="空的IN子句")
def empty_in_clause(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """``IN ()``: never true."""
    words = statement.words()
    return "IN has no members" if ("IN", "(", ")") in zip(words, words[1:], words[2:], strict=False) else None


@issue("invalid_date_format", 0.5, alias="无效的日期格式")
def invalid_date_format(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """A compared literal that looks like a date and is none in the calendar; or that is not written YYYY-MM-DD although
    the column is declared DATE or DATETIME or it stands beside a date function."""
    if statement.tree is None:
        return None
    types = _column_types(schema)
    for node in statement.find(*_COMPARISONS):
        columns = [column.name.lower() for column in node.find_all(exp.Column)]
        dated = node.find(exp.Date, exp.TsOrDsToDate, exp.TimeToStr) is not None
        dated |= any(types.get(name, "").startswith(("DATE", "TIMESTAMP")) for name in columns)
        for literal in node.find_all(exp.Literal):
            if literal.is_string and (problem := _date_problem(literal.name, dated)):
                return problem
    return None


@lru_cache(maxsize=4096)
def _column_types(schema: Schema | None) -> dict[str, str]:
    """Declared types by lower-case column name; a name with several types has none."""
    found: dict[str, str] = {}
    for table in schema.tables if schema else ():
        for column in table.columns:
            name = column.name.lower()
            found[name] = column.type if found.get(name, column.type) == column.type else ""
    return found


def _date_problem(text: str, dated: bool) -> str | None:
    if not _DATE_SHAPE.match(text):
        return None
    iso = _ISO.match(text)
    if iso is None:
        return f"{text!r} is not written YYYY-MM-DD" if dated else None
    try:
        date(*map(int, iso.groups()))
    except ValueError:
        return f"{text!r} is no day of the calendar"
    return None


@issue("multiple_tables_no_join", 0.4, alias="多表无连接")
def multiple_tables_no_join(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """Tables listed with commas that no condition in WHERE relates. An explicit CROSS JOIN is taken as intended, as are
    subqueries, which may have one row."""
    if "CROSS" in statement.words():
        return None
    for select, join in statement.joins():
        is_listed = join.kind == "CROSS" and isinstance(join.this, exp.Table)
        if is_listed and not connected(select, join):
            return f"{join.this.alias_or_name} is not related to the other tables"
    return None


@issue("order_by_without_limit", 0.2, alias="ORDER BY缺少LIMIT")
def order_by_without_limit(statement: Statement, question: str, schema: Schema | None) -> str | None:
    """ORDER BY without LIMIT at the outermost level, unless the question asks for an order."""
    if asks.ORDER.search(question):
        return None
    if statement.tree is None:
        words = statement.words()
        is_ordered, is_limited = "ORDER BY" in words or ("ORDER", "BY") in pairwise(words), "LIMIT" in words
    else:
        given = statement.tree.args if isinstance(statement.tree, exp.Query) else {}
        is_ordered, is_limited = given.get("order") is not None, given.get("limit") is not None
    return "ORDER BY without LIMIT" if is_ordered and not is_limited else None
