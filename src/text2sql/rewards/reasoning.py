"""The reasoning set: format, complexity and quality of ``<reasoning>..</reasoning> <sql>..</sql>``.

Formulas and weights are those of a published GRPO recipe for text-to-SQL reasoning; with ``execution_partial`` they
make the set ``reasoning``. Keyword counts can be gamed, hence the guards that each docstring names.
"""

import math
from collections.abc import Sequence

from text2sql.records import RewardSample
from text2sql.rewards.context import RewardContext, made_up
from text2sql.rewards.registry import RewardResult, reward, with_components
from text2sql.rewards.text import Reasoning, mentioned, read_reasoning, schema_names, topic_factor
from text2sql.sql import complexity, read_statement


@reward("soft_format", weight=1.0)
def soft_format(samples: Sequence[RewardSample], context: RewardContext) -> list[float]:
    """1 for ``<reasoning>..</reasoning> <sql>..</sql>``, else 0; weight 1.0. Text around the tags is allowed.

    Guards: each tag once, in this order, neither nested nor empty, and the completion not longer than ``max_chars``.
    """
    return [float(context.answer(sample.completion).format == "reasoning") for sample in samples]


@reward("sql_complexity", weight=0.6)
def sql_complexity(samples: Sequence[RewardSample], context: RewardContext) -> RewardResult:
    """exp(-0.5 ln(ratio)^2) for the ratio of the SQL's complexity to the gold's, clamped to [0.001, 1000]; weight 0.6.

    Without gold: 0.4 for a complexity within [1.5, 8], else 0.1. Range [0, 1]. Complexity is
    :func:`text2sql.sql.complexity`. Guards: counted on the tree, so comments and strings add nothing; a
    completion without clear SQL, or SQL that cannot be parsed, scores 0, as does a query of constants where the gold
    is none.
    """
    scores, values = [], []
    for sample in samples:
        sql, gold = context.clear_sql(sample.completion), sample.example.sql
        value = complexity(sql) if read_statement(sql).tree is not None else 0.0
        values.append(value)
        scores.append(0.0 if not value or made_up(sql, gold) else _closeness(value, gold))
    return RewardResult(scores, {"complexity": values})


def _closeness(value: float, gold: str) -> float:
    if not gold.strip():
        return 0.4 if 1.5 <= value <= 8.0 else 0.1
    ratio = min(max(value / max(complexity(gold), 1e-9), 1e-3), 1e3)
    return math.exp(-0.5 * math.log(ratio) ** 2)


@reward("reasoning_quality", weight=0.7)
def reasoning_quality(samples: Sequence[RewardSample], context: RewardContext) -> RewardResult:
    """Quality of the reasoning text, range [0, 1], weight 0.7.

    Sum, capped at 1, of: length 0.20 / 0.15 / 0.10 from 50 / 25 / 10 words (two Chinese characters count as a word); SQL
    terms min(0.20, 0.03 n); structure 0.15 / 0.10 for 3 / 2 lines; 0.15 when both first and following steps are
    marked; mentions of the schema min(0.30, 0.05 n). Terms and markers are known in English and Chinese.

    Guards: repeated sentences count once and sentences copied from the prompt not at all; only names that the
    completion's own SQL uses count as mentions; a text that is mostly terms and names, has few distinct words, or hardly
    any grammar, scores 0; so does one without clear SQL; one that takes up less than a third of the question's content
    words loses up to half; beyond 400 words the score falls, to 0 at 800.
    """
    parts = [_quality(sample, context) for sample in samples]
    return with_components(parts, "length", "terms", "structure", "steps", "mentions")


def own_reasoning(sample: RewardSample, context: RewardContext) -> tuple[Reasoning, frozenset[str]] | None:
    """The completion's reasoning, and the names of the schema that its SQL uses; None where no reasoning may be paid:
    without clear SQL or without text, and where the text is stuffed."""
    sql, text = context.clear_sql(sample.completion), context.answer(sample.completion).reasoning
    if not sql or not text:
        return None
    names, statement = schema_names(sample.example.schema), read_statement(sql)
    found = read_reasoning(text, f"{sample.prompt}\n{sample.example.question}\n{sample.example.schema}", names)
    return None if found.stuffed else (found, names & (statement.tables() | statement.columns()))


def _quality(sample: RewardSample, context: RewardContext) -> tuple[float, tuple[float, ...]]:
    own = own_reasoning(sample, context)
    if own is None:
        return 0.0, (0.0,) * 5
    found, used = own
    parts = (
        next((score for words, score in ((50, 0.20), (25, 0.15), (10, 0.10)) if found.words >= words), 0.0),
        min(0.20, 0.03 * found.terms),
        0.15 if found.lines >= 3 else 0.10 if found.lines == 2 else 0.0,
        0.15 if found.steps else 0.0,
        min(0.30, 0.05 * len(mentioned(used, found.text))),
    )
    return min(1.0, sum(parts)) * found.length_factor * topic_factor(sample.example.question, found.text), parts
