"""The two classes of a query that process rewards and metrics use, and a number for its complexity.

Classes: ``sql`` (one table or one join, no subquery) and ``多步推理``, multi-step reasoning (two or more joins, WITH, a
set operation, or a nested query).
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from sqlglot import exp

from text2sql.sql.question import SEVERAL_STEPS
from text2sql.sql.statement import AGGREGATES, Statement, read_statement, sources

SIMPLE = "sql"
MULTI_STEP = "多步推理"
_SPELLINGS = {
    SIMPLE: "sql|simple|single-step|single step|simple sql|简单|简单查询|单步|单步查询".split("|"),
    MULTI_STEP: "多步推理|多步|multi-step|multi step|multistep|multi-step reasoning|multi_step|复杂".split("|"),
}
_WEIGHTS: tuple[tuple[tuple[type[Any], ...], float], ...] = (
    ((exp.SetOperation,), 0.8),
    ((exp.CTE,), 0.8),
    ((exp.Where,), 0.2),
    ((exp.Group,), 0.5),
    ((exp.Having,), 0.7),
    ((exp.Order,), 0.3),
    ((exp.Limit,), 0.1),
    (AGGREGATES, 0.3),
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


@dataclass(frozen=True)
class Features:
    """Counts over the whole statement, from which the class and the complexity are derived."""

    joins: int
    subqueries: int
    aggregating_subqueries: int
    ctes: int
    set_operations: int
    aggregates: int
    tables: int


@dataclass(frozen=True)
class Classification:
    """The class, ``sql`` or ``多步推理``, and the reasons for it; the class is empty for text that is no query."""

    label: str
    reasons: tuple[str, ...]
    features: Features


@lru_cache(maxsize=16384)
def classify(sql: str) -> Classification:
    """Class of a query (see the module). Text that cannot be parsed is classified by its tokens."""
    statement = read_statement(sql)
    features = read_features(statement)
    if features.tables == 0 and "SELECT" not in statement.words():
        return Classification("", ("no query",), features)
    signs = (
        (features.joins >= 2, f"{features.joins} joins"),
        (features.ctes > 0, f"WITH defines {features.ctes} table(s)"),
        (features.set_operations > 0, f"{features.set_operations} set operation(s)"),
        (features.aggregating_subqueries > 0, f"{features.aggregating_subqueries} nested aggregation(s)"),
        (features.subqueries > features.aggregating_subqueries, "nested queries"),
    )
    reasons = tuple(reason for is_present, reason in signs if is_present)
    if reasons:
        return Classification(MULTI_STEP, reasons, features)
    return Classification(SIMPLE, ("one simple join" if features.joins else "one table", "no subquery"), features)


def read_features(statement: Statement) -> Features:
    """Features of a statement, counted on its tokens if it has no tree; tables listed with commas count as joined."""
    if statement.tree is None:
        words = statement.words()
        return Features(
            joins=words.count("JOIN"),
            subqueries=sum(pair == ("(", "SELECT") for pair in pairwise(words)),
            aggregating_subqueries=0,
            ctes=int(words[:1] == ("WITH",)),
            set_operations=sum(word in ("UNION", "INTERSECT", "EXCEPT") for word in words),
            aggregates=sum(word in ("COUNT", "SUM", "AVG", "MIN", "MAX") for word in words),
            tables=words.count("FROM") + words.count("JOIN"),
        )
    selects = statement.find(exp.Select)
    nested = [select for select in selects if _is_nested(select)]
    return Features(
        joins=sum(max(len(sources(select)) - 1, 0) for select in selects),
        subqueries=len(nested),
        aggregating_subqueries=sum(any(e.find(*AGGREGATES) for e in select.expressions) for select in nested),
        ctes=len(statement.find(exp.CTE)),
        set_operations=len(statement.find(exp.SetOperation)),
        aggregates=len(statement.find(*AGGREGATES)),
        tables=len(statement.find(exp.Table)),
    )


def _is_nested(select: Any) -> bool:
    """Whether a SELECT is a subquery; the parts of set operations and the bodies of WITH have counts of their own."""
    parent = select.parent
    while isinstance(parent, exp.SetOperation):
        parent = parent.parent
    return parent is not None and not isinstance(parent, exp.CTE | exp.Insert)


def normal_label(text: str) -> str:
    """``sql`` or ``多步推理`` for the ways in which a completion may spell them; empty for anything else."""
    plain = text.strip().strip("。.:：").strip().lower()
    return next((label for label, spellings in _SPELLINGS.items() if plain in spellings), "")


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


@dataclass(frozen=True)
class Check:
    """``label`` is the class that the query has; ``agrees``: the claim is the same; ``confidence`` is in [0, 1]."""

    label: str
    agrees: bool
    confidence: float
    reasons: tuple[str, ...]


def check_classification(sql: str, claimed: str, question: str = "") -> Check:
    """Check a claimed class of ``sql`` (any spelling that :func:`normal_label` knows).

    Confidence starts at 0.6 for a parsed query and at 0.3 for one known by its tokens only. Each sign of a multi-step
    query adds 0.15. A simple query adds 0.3 for one table and 0.15 for a join. A query that is nested without aggregating
    is near the border between the classes, which takes 0.2 away. A question that points the same way adds 0.1, one that
    points the other way takes 0.1 away.
    """
    found = classify(sql)
    if not found.label:
        return Check("", False, 0.0, found.reasons)
    reasons, confidence = list(found.reasons), 0.6
    if read_statement(sql).tree is None:
        reasons.append("cannot be parsed, told from its tokens")
        confidence = 0.3
    if found.label == SIMPLE:
        confidence += 0.3 if found.features.joins == 0 else 0.15
    else:
        confidence += 0.15 * len(found.reasons)
    if found.reasons == ("nested queries",):
        confidence -= 0.2
        reasons.append("nested without aggregation: near the border")
    if question:
        points_to = MULTI_STEP if SEVERAL_STEPS.search(question) else SIMPLE
        confidence += 0.1 if points_to == found.label else -0.1
        if points_to != found.label:
            reasons.append(f"the question reads like {points_to}")
    agrees = normal_label(claimed) == found.label
    if not agrees:
        reasons.append(f"claimed {claimed.strip() or 'nothing'}")
    return Check(found.label, agrees, round(min(max(confidence, 0.0), 1.0), 2), tuple(reasons))
