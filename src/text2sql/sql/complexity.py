"""How much a query asks for: the two classes of the process reward, and a number.

Classes: ``sql`` is one table, or one simple join, and no subquery; ``多步推理`` (multi-step reasoning) is two or more
joins, WITH, a set operation, or a nested query.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from sqlglot import exp

from text2sql.sql.statement import Statement, read_statement, sources

SIMPLE = "sql"
MULTI_STEP = "多步推理"
_SPELLINGS = {
    SIMPLE: ("sql", "simple", "single-step", "single step", "simple sql", "简单", "简单查询", "单步", "单步查询"),
    MULTI_STEP: (
        "多步推理",
        "多步",
        "multi-step",
        "multi step",
        "multistep",
        "multi-step reasoning",
        "multi_step",
        "复杂",
    ),
}
_AGGREGATES = (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.GroupConcat)


@dataclass(frozen=True)
class Features:
    """Counts over the whole statement: what the class and the number are made of."""

    joins: int = 0
    subqueries: int = 0
    aggregating_subqueries: int = 0
    ctes: int = 0
    set_operations: int = 0
    aggregates: int = 0
    windows: int = 0
    tables: int = 0


@dataclass(frozen=True)
class Classification:
    """The class, ``sql`` or ``多步推理``, and the reasons for it in words; the class is empty for text that is no query."""

    label: str
    reasons: tuple[str, ...]
    features: Features


@lru_cache(maxsize=16384)
def classify(sql: str) -> Classification:
    """Class of a query (see the module). Text that cannot be parsed is classed by its tokens."""
    statement = read_statement(sql)
    features = read_features(statement)
    if features.tables == 0 and "SELECT" not in statement.words():
        return Classification("", ("no query",), features)
    found = (
        (features.joins >= 2, f"{features.joins} joins"),
        (features.ctes > 0, f"WITH defines {features.ctes} table(s)"),
        (features.set_operations > 0, f"{features.set_operations} set operation(s)"),
        (features.aggregating_subqueries > 0, f"{features.aggregating_subqueries} nested aggregation(s)"),
        (features.subqueries > features.aggregating_subqueries, "nested queries"),
    )
    reasons = tuple(words for holds, words in found if holds)
    if reasons:
        return Classification(MULTI_STEP, reasons, features)
    return Classification(SIMPLE, ("one simple join" if features.joins else "one table", "no subquery"), features)


def read_features(statement: Statement) -> Features:
    """Features of a statement; tables listed with commas count as joined. By its tokens where there is no tree."""
    if statement.tree is None:
        return _token_features(statement.words())
    selects = statement.selects()
    nested = [select for select in selects if _is_nested(select)]
    return Features(
        joins=sum(max(len(sources(select)) - 1, 0) for select in selects),
        subqueries=len(nested),
        aggregating_subqueries=sum(any(e.find(*_AGGREGATES) for e in select.expressions) for select in nested),
        ctes=len(statement.find(exp.CTE)),
        set_operations=len(statement.find(exp.SetOperation)),
        aggregates=len(statement.find(*_AGGREGATES)),
        windows=len(statement.find(exp.Window)),
        tables=len(statement.find(exp.Table)),
    )


def _is_nested(select: Any) -> bool:
    """Whether a SELECT is a subquery; the parts of a set operation and the bodies of WITH are counted elsewhere."""
    parent = select.parent
    while isinstance(parent, exp.SetOperation):
        parent = parent.parent
    return parent is not None and not isinstance(parent, exp.CTE | exp.Insert)


def _token_features(words: tuple[str, ...]) -> Features:
    nested = sum(one == "(" and other == "SELECT" for one, other in pairwise(words))
    return Features(
        joins=words.count("JOIN"),
        subqueries=nested,
        ctes=int(words[:1] == ("WITH",)),
        set_operations=sum(words.count(word) for word in ("UNION", "INTERSECT", "EXCEPT")),
        aggregates=sum(words.count(word) for word in ("COUNT", "SUM", "AVG", "MIN", "MAX")),
        windows=words.count("OVER"),
        tables=words.count("FROM") + words.count("JOIN"),
    )


def normal_label(text: str) -> str:
    """``sql`` or ``多步推理`` for the ways in which a completion may spell them; empty for anything else."""
    plain = text.strip().strip("。.:：").strip().lower()
    return next((label for label, spellings in _SPELLINGS.items() if plain in spellings), "")


_WEIGHTS: tuple[tuple[tuple[type[Any], ...], float], ...] = (
    ((exp.SetOperation,), 0.8),
    ((exp.CTE,), 0.8),
    ((exp.Where,), 0.2),
    ((exp.Group,), 0.5),
    ((exp.Having,), 0.7),
    ((exp.Order,), 0.3),
    ((exp.Limit,), 0.1),
    (_AGGREGATES, 0.3),
    ((exp.Distinct,), 0.3),
    ((exp.Case,), 0.4),
    ((exp.Window,), 1.0),
    ((exp.And,), 0.15),
    ((exp.Or,), 0.2),
    ((exp.In,), 0.2),
    ((exp.Like,), 0.1),
    ((exp.Between,), 0.2),
    ((exp.Exists,), 0.3),
)


@lru_cache(maxsize=16384)
def complexity(sql: str) -> float:
    """Complexity of a query, 1.0 for the plainest; 0.0 for text without any SQL.

    1 + 0.6 a join + 1.0 a nested SELECT + the weights of :data:`_WEIGHTS`, counted on the tree. The weights are those
    of the published GRPO reasoning recipe for text-to-SQL, which counts keywords in the text. Text that cannot be
    parsed is counted by its tokens (joins, nested queries, set operations, aggregates).
    """
    statement = read_statement(sql)
    if not statement.tokens:
        return 0.0
    found = read_features(statement)
    value = 1.0 + 0.6 * found.joins + 1.0 * found.subqueries
    if statement.tree is None:
        return value + 0.8 * found.set_operations + 0.3 * found.aggregates
    return value + sum(weight * len(statement.find(*kinds)) for kinds, weight in _WEIGHTS)
