"""Rewards that run nothing: which tables and columns the SQL uses, how long the completion is."""

from collections.abc import Sequence

from text2sql.records import RewardSample
from text2sql.rewards.context import RewardContext
from text2sql.rewards.registry import RewardResult, reward
from text2sql.rewards.text import count_words
from text2sql.sql import read_statement


@reward("schema_linking", weight=1.0, needs=("gold",))
def schema_linking(samples: Sequence[RewardSample], context: RewardContext) -> RewardResult:
    """Mean of the F1 of tables and the F1 of columns against the gold, range [0, 1].

    Names count once, whatever they are used for; columns without their tables. Two queries without any columns agree on
    them. Guards: names are read from the tree, so comments and strings add nothing; SQL that cannot be parsed, or is
    not clear, scores 0. It rewards the right ingredients only: use it beside an execution reward.
    """
    tables, columns = [], []
    for sample in samples:
        found, gold = read_statement(context.clear_sql(sample.completion)), read_statement(sample.example.sql)
        readable = found.tree is not None
        tables.append(_f1(found.tables(), gold.tables()) if readable else 0.0)
        columns.append(_f1(found.columns(), gold.columns()) if readable and tables[-1] else 0.0)
    scores = [(one + other) / 2 for one, other in zip(tables, columns, strict=True)]
    return RewardResult(scores, {"tables": tables, "columns": columns})


def _f1(found: frozenset[str], gold: frozenset[str]) -> float:
    if not found and not gold:
        return 1.0
    return 2 * len(found & gold) / (len(found) + len(gold))


@reward("length", weight=1.0, low=-1.0, high=0.0)
def length(
    samples: Sequence[RewardSample], context: RewardContext, max_tokens: int = 1024, soft_tokens: int = 256
) -> RewardResult:
    """Soft overlong penalty, range [-1, 0]: 0 up to ``max_tokens - soft_tokens``, then falling to -1 at ``max_tokens``.

    Formula: DAPO, equation 13. Where the number of tokens is not known it is estimated at four thirds of the words, and at
    one for three characters at least.
    """
    lengths = [float(s.tokens or round(max(count_words(s.completion) * 4 / 3, len(s.completion) / 3))) for s in samples]
    scores = [min(0.0, max(-1.0, (max_tokens - soft_tokens - n) / max(soft_tokens, 1e-9))) for n in lengths]
    return RewardResult(scores, {"tokens": lengths})
