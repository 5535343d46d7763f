"""Rewards that run the SQL: the metric itself, and two that give partial credit.

All verdicts come from the evaluator, through :class:`text2sql.rewards.RewardContext` and its guards. Partial credit
is never as much as a match.
"""

from collections.abc import Sequence
from functools import partial

from sqleval import Rows, Verdict, run_on_copy
from text2sql.records import RewardSample
from text2sql.rewards.context import Judged, RewardContext, made_up
from text2sql.rewards.registry import RewardResult, reward, with_components
from text2sql.rewards.text import names_of
from text2sql.sql import read_statement

_WRITES = ("insert", "update", "delete")
_ERROR_CREDIT = {
    "ambiguous_column": 0.2,
    "no_such_column": 0.1,
    "aggregate_misuse": 0.1,
    "no_such_table": 0.0,
    "syntax": 0.0,
    "multiple_statements": 0.0,
    "forbidden": 0.0,
    "timeout": 0.0,
    "too_large": 0.0,
    "no_sql": 0.0,
}
_MESSAGE_CREDIT = (("datatype mismatch", 0.15), ("constraint failed", 0.1), ("no such function", 0.05))


@reward("execution", weight=1.0, needs=("gold", "database"))
def execution(samples: Sequence[RewardSample], context: RewardContext, runs: float = 0.1) -> RewardResult:
    """1 for a match, 0.1 for a query that runs, 0 otherwise. Range [0, 1]. The default reward.

    Formula: Arctic-Text2SQL-R1. A match is the evaluator's verdict; parameter ``runs`` is what a query that runs is
    worth. Guards (they take a match away, so that the query counts as one that runs): a query made of constants, and
    a match between results that say nothing (empty, NULL or 0 on every instance) unless the query is equivalent to
    the gold. A completion with several SQL blocks, broken tags or excessive length has no SQL and scores 0.
    """
    judged = context.judge(samples)
    scores = [1.0 if j.matched else runs if j.ran else 0.0 for j in judged]
    return RewardResult(scores, _components(judged))


def _components(judged: Sequence[Judged]) -> dict[str, list[float]]:
    parts = {"matched": [float(j.matched) for j in judged], "ran": [float(j.ran) for j in judged]}
    parts["hollow"] = [float(j.hollow) for j in judged]
    classes = sorted({j.verdict.error_class for j in judged if j.verdict.error_class})
    return {**parts, **{f"error/{name}": [float(j.verdict.error_class == name) for j in judged] for name in classes}}


@reward("execution_partial", weight=1.2, needs=("gold", "database"))
def execution_partial(samples: Sequence[RewardSample], context: RewardContext) -> RewardResult:
    """Execution with partial credit, range [0, 1], weight 1.2.

    Formula (the published GRPO reasoning recipe for text-to-SQL): base 0.1 for the gold's statement type, 0.3 when it
    runs; 1 on a match, otherwise max(base, 0.5 x Jaccard similarity of the rows over the columns that both results
    name). INSERT, UPDATE and DELETE, run on a copy: 0.5 when they run, 0.4 when they run after the schema's spelling
    of identifiers was put in. Errors: ambiguous column 0.2, datatype mismatch 0.15, unknown column, aggregate misuse and
    constraint 0.1, unknown function 0.05, syntax, unknown table, timeout and the rest 0.

    Guards beside those of ``execution``: rows are compared as multisets, so duplicates do not pay; a hollow match or a
    query of constants pays the 0.1 of its type only; a statement that writes is never run where the gold reads, and
    earns 1 where its effect on the data is the gold's; results of more than 10,000 rows have no similarity.
    """
    judged = context.judge(samples)
    scores = [_partial(sample, j, context) for sample, j in zip(samples, judged, strict=True)]
    return RewardResult(scores, {"matched": [float(j.matched) for j in judged]})


def _partial(sample: RewardSample, judged: Judged, context: RewardContext) -> float:
    gold_kind, kind = read_statement(sample.example.sql).kind, read_statement(judged.sql).kind
    if not judged.sql:
        return 0.0
    if gold_kind in _WRITES:
        return _written(sample, judged.sql, context) if kind == gold_kind else 0.0
    base = 0.1 if kind == gold_kind else 0.0
    if judged.matched:
        return 1.0
    if judged.hollow or (judged.ran and made_up(judged.sql, sample.example.sql)):
        return base
    if judged.verdict.outcome == "mismatch":
        near = judged.verdict.overlap
        return max(0.3, 0.5 * near.rows if near else 0.0) if base else 0.0
    return _error_credit(judged.verdict, base)


def _error_credit(verdict: Verdict, base: float) -> float:
    listed = next((credit for text, credit in _MESSAGE_CREDIT if text in verdict.message.lower()), None)
    return listed if listed is not None else _ERROR_CREDIT.get(verdict.error_class or "", base)


def _written(sample: RewardSample, sql: str, context: RewardContext) -> float:
    """Credit of a statement that writes where the gold writes."""
    run = partial(run_on_copy, context.database(sample.example.db_id), timeout=context.timeout)
    found = run(sql)
    if isinstance(found, Rows):
        gold = run(sample.example.sql)
        return 1.0 if isinstance(gold, Rows) and gold.changed > 0 and gold.state == found.state else 0.5
    found = run(_in_schema_case(sql, sample.example.schema))
    if isinstance(found, Rows):
        return 0.4
    return _error_credit(Verdict(False, "error", found.error.value, found.message), 0.1)


def _in_schema_case(sql: str, schema: str) -> str:
    """``sql`` with identifiers spelled as the schema spells them. SQLite ignores case in ASCII letters only, so this
    changes what runs for names such as ``Größe``. Quoted text that is no name of the schema stays."""
    spelled = {name.casefold(): name for name in names_of(schema)}
    parts, end = [], 0
    for token in read_statement(sql).tokens:
        name = spelled.get(token.text.casefold())
        literal = token.token_type.name == "STRING"
        if name is not None and name != token.text and not literal:
            original = sql[token.start : token.end + 1]
            parts += [sql[end : token.start], original.replace(token.text, name)]
            end = token.end + 1
    return "".join((*parts, sql[end:]))


@reward("execution_cells", weight=1.0, needs=("gold", "database"))
def execution_cells(samples: Sequence[RewardSample], context: RewardContext) -> RewardResult:
    """Mean of cell precision, cell recall and cardinality of the result, range [0, 1].

    Formula (Think2SQL, after QATCH): precision is the share of the result's cells that the gold's result holds, recall
    the share of the gold's cells that the result holds, cardinality the smaller row count over the larger. Components
    carry the three. Guards beside those of ``execution``: cells are counted with their multiplicity; without a match
    the score is at most 0.9, and 0.1 for a hollow match or a query of constants; results of more than 10,000 rows
    score 0.
    """
    parts = [_cells(sample, j) for sample, j in zip(samples, context.judge(samples), strict=True)]
    return with_components(parts, "precision", "recall", "cardinality")


def _cells(sample: RewardSample, judged: Judged) -> tuple[float, tuple[float, float, float]]:
    if judged.matched:
        return 1.0, (1.0, 1.0, 1.0)
    if not judged.ran:
        return 0.0, (0.0, 0.0, 0.0)
    if judged.hollow or made_up(judged.sql, sample.example.sql):
        return 0.1, (0.0, 0.0, 0.0)
    near = judged.verdict.overlap
    if near is None:
        return 0.0, (0.0, 0.0, 0.0)
    three = (near.precision, near.recall, near.cardinality)
    return (min(sum(three) / 3, 0.9) if near.precision else 0.0), three
