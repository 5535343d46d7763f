"""Exact set match and the scores of its components, as the Spider benchmark defines them.

Values never count, DISTINCT of the outermost query never counts, columns tied by foreign keys are one column, and
the order of select items and conditions is free. The definitions' oddities are kept (GROUP BY compares bare column
names, the totals of "and/or" are swapped): published figures contain them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqleval.exact.query import Column, Condition, Conditions, Query, Tables, Term

COMPONENTS = (
    *("select", "select(no AGG)", "where", "where(no OP)", "group(no Having)"),
    *("group", "order", "and/or", "IUEN", "keywords"),
)


@dataclass(frozen=True)
class Component:
    """Score of one component: 0 or 1 (precision, recall and F1 are equal by definition), and how many of it."""

    score: int
    gold_total: int
    pred_total: int


def foreign_key_map(entry: Mapping[str, Any]) -> dict[str, str]:
    """Representative of each column that a foreign key ties to another; ``entry`` is one schema of tables.json."""
    tables = [str(name).lower() for name in entry["table_names_original"]]
    columns = [
        f"{tables[table]}.{str(name).lower()}" if table >= 0 else "*" for table, name in entry["column_names_original"]
    ]
    groups: list[set[int]] = []
    for one, other in entry["foreign_keys"]:
        group = next((g for g in groups if one in g or other in g), set[int]())
        if not group:
            groups.append(group)
        group |= {one, other}
    return {columns[index]: columns[min(group)] for group in groups for index in sorted(group)}


def normalise(query: Query, keys: Mapping[str, str], tables: Tables) -> Query:
    """The tree that is compared: without DISTINCT, keyed columns replaced when their table is in FROM."""
    known = {f"{t}.{c}" for t in query.tables if isinstance(t, str) for c in tables.get(t, ())}
    return _with_keys(query, {old: new for old, new in keys.items() if old in known})


def _with_keys(query: Query, keys: Mapping[str, str]) -> Query:
    def column(old: Column) -> Column:
        return Column(old.aggregate, keys.get(old.name, old.name), None)

    def term(old: Term) -> Term:
        return Term(old.operator, column(old.left), old.right and column(old.right))

    def units(old: Conditions) -> Conditions:
        return tuple(replace(u, term=term(u.term)) if isinstance(u, Condition) else u for u in old)

    return replace(
        query,
        select=tuple((aggregate, term(item)) for aggregate, item in query.select),
        distinct=None,
        joins=units(query.joins),
        where=units(query.where),
        group_by=tuple(map(column, query.group_by)),
        having=units(query.having),
        order_by=query.order_by and (query.order_by[0], tuple(map(term, query.order_by[1]))),
        intersect=query.intersect and _with_keys(query.intersect, keys),
        except_=query.except_ and _with_keys(query.except_, keys),
        union=query.union and _with_keys(query.union, keys),
    )


def exact_match(gold: Query, pred: Query) -> tuple[bool, dict[str, Component]]:
    """Whether two normalised trees match, and the score of each component."""
    scores = components(gold, pred)
    if any(part.score != 1 for part in scores.values()):
        return False, scores
    return not gold.tables or _same_items(gold.tables, pred.tables), scores


def components(gold: Query, pred: Query) -> dict[str, Component]:
    """Scores of the ten components of two normalised trees, by the names of :data:`COMPONENTS`."""
    lists = [
        Component(int(_same_items(one, other)), len(one), len(other))
        for one, other in zip(_lists(gold), _lists(pred), strict=True)
    ]
    one, other = ([column.name for column in query.group_by] for query in (gold, pred))
    group = bool(one and other and one == other and gold.having == pred.having)
    order = bool(gold.order_by and gold.order_by == pred.order_by and gold.limited == pred.limited)
    words, pred_words = set(gold.where[1::2]), set(pred.where[1::2])
    connectives = Component(1, 1, 1) if words == pred_words else Component(0, len(pred_words), len(words))
    gold_keywords, pred_keywords = keywords(gold), keywords(pred)
    others = [
        _scored(group, bool(one), bool(other)),
        _scored(order, gold.order_by is not None, pred.order_by is not None),
        connectives,
        _set_operations(gold, pred),
        _scored(len(gold_keywords & pred_keywords), len(gold_keywords), len(pred_keywords)),
    ]
    return dict(zip(COMPONENTS, lists + others, strict=True))


def _lists(query: Query) -> list[Sequence[object]]:
    """What the first five components compare, order aside."""
    where = query.where[::2]
    return [
        query.select,
        [term for _, term in query.select],
        where,
        [unit.term if isinstance(unit, Condition) else unit for unit in where],
        [column.name.split(".")[1] if "." in column.name else column.name for column in query.group_by],
    ]


def _same_items(gold: Sequence[object], pred: Sequence[object]) -> bool:
    rest = list(gold)
    for item in pred:
        if item not in rest:
            return False
        rest.remove(item)
    return not rest


def _scored(count: int, gold_total: int, pred_total: int) -> Component:
    return Component(int(count == pred_total == gold_total), int(gold_total), int(pred_total))


def _set_operations(gold: Query, pred: Query) -> Component:
    pairs = [(gold.intersect, pred.intersect), (gold.except_, pred.except_), (gold.union, pred.union)]
    count = sum(exact_match(one, other)[0] for one, other in pairs if one is not None and other is not None)
    return _scored(count, sum(one is not None for one, _ in pairs), sum(other is not None for _, other in pairs))


def keywords(query: Query) -> set[str]:
    """Clause and operator words that a query uses."""
    clauses = {"where": query.where, "group": query.group_by, "having": query.having, "limit": query.limited}
    clauses |= {"except": query.except_, "union": query.union, "intersect": query.intersect}
    found = {word for word, used in clauses.items() if used}
    if query.order_by:
        found |= {"order", query.order_by[0]}
    if "or" in query.connectives:
        found.add("or")
    found |= {"in", "like"} & {condition.operator for condition in query.conditions}
    return found | {"not" for condition in query.conditions if condition.negated}
