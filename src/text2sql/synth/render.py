"""Writes a meaning as SQL, in the form of Spider's gold queries: aliases T1, T2 only where tables are joined."""

from text2sql.schema import quote
from text2sql.synth.grammar import read_yaml
from text2sql.synth.meaning import Condition, Query, Term, Value

_CONDITIONS: dict[str, str] = read_yaml("slots.yaml")["conditions"]
_NESTED = {
    "average_above": "{c} > (SELECT avg({bare}) FROM {t})",
    "average_below": "{c} < (SELECT avg({bare}) FROM {t})",
    "highest": "{c} = (SELECT max({bare}) FROM {t})",
    "lowest": "{c} = (SELECT min({bare}) FROM {t})",
}


def to_sql(query: Query) -> str:
    """The query as one line of SQL."""
    clauses = [f"SELECT {'DISTINCT ' * query.distinct}{', '.join(_term(query, item) for item in query.items)}"]
    clauses.append(f"FROM {_tables(query)}")
    if query.where:
        clauses.append("WHERE " + (" OR " if query.either else " AND ").join(_condition(query, c) for c in query.where))
    if query.group is not None:
        clauses.append(f"GROUP BY {_term(query, query.group)}")
    if query.having is not None:
        clauses.append(f"HAVING {_condition(query, query.having)}")
    if query.order is not None:
        clauses.append(f"ORDER BY {_term(query, query.order)} {'DESC' if query.descending else 'ASC'}")
    if query.limit:
        clauses.append(f"LIMIT {query.limit}")
    sql = " ".join(clauses)
    return f"{sql} {query.combine} {to_sql(query.other)}" if query.other is not None else sql


def _tables(query: Query) -> str:
    first, *rest = query.places
    if not rest:
        return quote(first.table.name)
    text = f"{quote(first.table.name)} AS T1"
    for number, place in enumerate(rest, 2):
        assert place.join is not None
        here, before = (place.join.ref, place.join.key) if place.up else (place.join.key, place.join.ref)
        text += (
            f" JOIN {quote(place.table.name)} AS T{number} ON T{number - 1}.{quote(before)} = T{number}.{quote(here)}"
        )
    return text


def _term(query: Query, term: Term) -> str:
    prefix = f"T{term.place + 1}." if len(query.places) > 1 else ""
    name = "*" if term.column is None else prefix + term.column.sql
    if not term.function:
        return name
    return f"{term.function}({'DISTINCT ' * term.distinct}{name})"


def _condition(query: Query, condition: Condition) -> str:
    name, kind = _term(query, condition.term), condition.kind
    if condition.inner is not None:
        inner = condition.inner
        return f"{name} {'NOT ' * (kind == 'lacks')}IN ({to_sql(inner)})"
    if kind in _NESTED:
        column = condition.term.column
        assert column is not None
        return _NESTED[kind].format(c=name, bare=column.sql, t=quote(query.places[condition.term.place].table.name))
    value, other = (*condition.values, "", "")[:2]
    shown = str(value).replace("'", "''")
    return _CONDITIONS[kind].format(c=name, v=shown, q=literal(value), q2=literal(other))


def literal(value: Value) -> str:
    """``value`` as a SQL literal."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
