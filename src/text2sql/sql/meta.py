"""Checks a claimed class of a query against the query itself, with a confidence and its reasons.

The evidence is the query's tree and, where there is one, the question: wording such as "but not" or "above the average"
calls for several steps.
"""

from dataclasses import dataclass

from text2sql.sql import question as asks
from text2sql.sql.complexity import MULTI_STEP, SIMPLE, classify, normal_label
from text2sql.sql.statement import read_statement


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
        points_to = MULTI_STEP if asks.SEVERAL_STEPS.search(question) else SIMPLE
        confidence += 0.1 if points_to == found.label else -0.1
        if points_to != found.label:
            reasons.append(f"the question reads like {points_to}")
    agrees = normal_label(claimed) == found.label
    if not agrees:
        reasons.append(f"claimed {claimed.strip() or 'nothing'}")
    return Check(found.label, agrees, round(min(max(confidence, 0.0), 1.0), 2), tuple(reasons))
