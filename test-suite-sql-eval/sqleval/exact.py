"""Exact set match and the scores of its components, as the Spider benchmark defines them.

Values never count, DISTINCT of the outermost query never counts, columns tied by foreign keys are one column, and
the order of select items and conditions is free. The definitions' oddities are kept (GROUP BY compares bare column
names, the totals of "and/or" are swapped): published figures contain them.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from sqleval.names import Tables
from sqleval.tree import Column, Condition, Conditions, Query, Term

COMPONENTS = (
    "select", "select(no AGG)", "where", "where(no OP)", "group(no Having)", "group", "order", "and/or", "IUEN", "keywords",
)  # fmt: skip


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
        group = next((g for g in groups if one in g or other in g), None)
        if group is None:
            group = set()
            groups.append(group)
        group |= {one, other}
    return {columns[index]: columns[min(group)] for group in groups for index in sorted(group)}


def normalise(query: Query, keys: Mapping[str, str], tables: Tables) -> Query:
    """The tree that is compared: values dropped, keyed columns replaced when their table is in FROM."""
    known = {f"{t}.{c}" for t in query.tables if isinstance(t, str) for c in tables.get(t, ())}
    return _with_keys(_without_values(query), {old: new for old, new in keys.items() if old in known})


def _without_values(query: Query) -> Query:
    def strip(units: Conditions) -> Conditions:
        return tuple(
            replace(unit, low=_nested_only(unit.low), high=_nested_only(unit.high))
            if isinstance(unit, Condition)
            else unit
            for unit in units
        )

    return replace(
        query,
        joins=strip(query.joins),
        where=strip(query.where),
        having=strip(query.having),
        intersect=query.intersect and _without_values(query.intersect),
        except_=query.except_ and _without_values(query.except_),
        union=query.union and _without_values(query.union),
    )


def _nested_only(value: object) -> object:
    return _without_values(value) if isinstance(value, Query) else None


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
    gold_where, pred_where = gold.where[::2], pred.where[::2]
    gold_group, pred_group = _names(gold.group_by), _names(pred.group_by)
    same_group = gold_group == pred_group and gold.having == pred.having
    same_order = gold.order_by == pred.order_by and gold.limited == pred.limited
    found = [
        _matched(gold.select, pred.select),
        _matched([item[1] for item in gold.select], [item[1] for item in pred.select]),
        _matched(gold_where, pred_where),
        _matched([_term(unit) for unit in gold_where], [_term(unit) for unit in pred_where]),
        _matched([_bare(name) for name in gold_group], [_bare(name) for name in pred_group]),
        _flagged(bool(gold_group), bool(pred_group), same_group),
        _flagged(gold.order_by is not None, pred.order_by is not None, same_order),
        _connectives(set(gold.where[1::2]), set(pred.where[1::2])),
        _set_operations(gold, pred),
        _keyword_score(keywords(gold), keywords(pred)),
    ]
    return dict(zip(COMPONENTS, found, strict=True))


def _scored(count: int, gold_total: int, pred_total: int) -> Component:
    return Component(int(count == pred_total == gold_total), gold_total, pred_total)


def _same_items(gold: Sequence[object], pred: Sequence[object]) -> bool:
    rest = list(gold)
    for item in pred:
        if item not in rest:
            return False
        rest.remove(item)
    return not rest


def _matched(gold: Sequence[object], pred: Sequence[object]) -> Component:
    return Component(int(_same_items(gold, pred)), len(gold), len(pred))


def _flagged(gold: bool, pred: bool, same: bool) -> Component:
    return _scored(int(gold and pred and same), int(gold), int(pred))


def _connectives(gold: AbstractSet[object], pred: AbstractSet[object]) -> Component:
    if gold == pred:
        return Component(1, 1, 1)
    return _scored(0, len(pred), len(gold))


def _set_operations(gold: Query, pred: Query) -> Component:
    pairs = [(gold.intersect, pred.intersect), (gold.except_, pred.except_), (gold.union, pred.union)]
    count = sum(exact_match(one, other)[0] for one, other in pairs if one is not None and other is not None)
    return _scored(count, sum(one is not None for one, _ in pairs), sum(other is not None for _, other in pairs))


def _keyword_score(gold: AbstractSet[str], pred: AbstractSet[str]) -> Component:
    return _scored(len(gold & pred), len(gold), len(pred))


def keywords(query: Query) -> set[str]:
    """Clause and operator words that a query uses."""
    found = {
        word
        for word, used in (
            ("where", query.where), ("group", query.group_by), ("having", query.having), ("limit", query.limited),
            ("except", query.except_), ("union", query.union), ("intersect", query.intersect),
        )
        if used
    }  # fmt: skip
    if query.order_by:
        found |= {"order", query.order_by[0]}
    groups: tuple[Conditions, ...] = (query.joins, query.where, query.having)
    if any("or" in group[1::2] for group in groups):
        found.add("or")
    units = [unit for group in groups for unit in group[::2] if isinstance(unit, Condition)]
    found |= {unit.operator for unit in units if unit.operator in ("in", "like")}
    if any(unit.negated for unit in units):
        found.add("not")
    return found


def _names(columns: Iterable[Column]) -> list[str]:
    return [column.name for column in columns]


def _bare(name: str) -> str:
    return name.split(".")[1] if "." in name else name


def _term(unit: Condition | str) -> object:
    return unit.term if isinstance(unit, Condition) else unit
