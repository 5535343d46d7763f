"""The reasoning set and the process set: rewards for what stands beside the SQL, each with guards against gaming.

Reasoning: format, complexity and quality of ``<reasoning>..</reasoning> <sql>..</sql>``. Formulas and weights are those of
a published GRPO recipe for text-to-SQL reasoning, with ``execution_partial`` as the fourth. Keyword counts can be gamed,
hence the guards that each docstring names.

Process: a declared type, a thinking text, SQL without issues, and a true account of its issues, for completions
``<think>..</think> <answer><type>..</type><sql>..</sql><issues>..</issues></answer>``. The four parts and their weights
(0.20 / 0.25 / 0.25 / 0.30) are published. None of the published parts runs the SQL, so a tidy query that answers another
question would earn all; the guards named below tie two of them to the evaluator's verdict.
"""

import math
import re
from collections.abc import Sequence

from text2sql.prompts import Answer
from text2sql.records import RewardSample
from text2sql.rewards.context import RewardContext, made_up
from text2sql.rewards.registry import RewardResult, reward, with_components
from text2sql.rewards.text import Reasoning, mentioned, question_coverage, read_reasoning, schema_names, topic_factor
from text2sql.sql import ISSUE_RULES, classify, complexity, find_issues, read_statement
from text2sql.sql.complexity import normal_label

_NONE = frozenset(("none", "no issues", "no issue", "nothing", "无", "没有", "没有问题", "无问题"))
_SEPARATOR = re.compile(r"[,;，、；\n]+")
_WRONG_AT_MOST = 0.5


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


def _own_reasoning(sample: RewardSample, context: RewardContext) -> tuple[Reasoning, frozenset[str]] | None:
    """The completion's reasoning, and the names of the schema that its SQL uses; None where no reasoning may be paid:
    without clear SQL or without text, and where the text is stuffed."""
    sql, text = context.clear_sql(sample.completion), context.answer(sample.completion).reasoning
    if not sql or not text:
        return None
    names, statement = schema_names(sample.example.schema), read_statement(sql)
    found = read_reasoning(text, f"{sample.prompt}\n{sample.example.question}\n{sample.example.schema}", names)
    return None if found.stuffed else (found, names & (statement.tables() | statement.columns()))


def _quality(sample: RewardSample, context: RewardContext) -> tuple[float, tuple[float, ...]]:
    own = _own_reasoning(sample, context)
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


@reward("complexity_type", weight=0.20, needs=("gold",))
def complexity_type(samples: Sequence[RewardSample], context: RewardContext) -> list[float]:
    """1 if the declared type, ``sql`` or ``多步推理``, is the gold's class, else 0; weight 0.20.

    English and Chinese spellings are understood. Guard: the completion's own SQL must be of that class too. A form of
    answer without a place for the type (``<think>..</think> <answer>SQL</answer>``) declares that of its SQL.
    """
    scores = []
    for sample in samples:
        answer, own = context.answer(sample.completion), classify(context.clear_sql(sample.completion)).label
        declared = own if answer.undeclared else normal_label(answer.type)
        scores.append(float(bool(declared) and declared == own == classify(sample.example.sql).label))
    return scores


@reward("thinking_quality", weight=0.25)
def thinking_quality(samples: Sequence[RewardSample], context: RewardContext) -> RewardResult:
    """Quality of the ``<think>`` text, range [0, 1], weight 0.25.

    0.30 x the share of the SQL's tables and columns that the text mentions + 0.25 x min(1, words / 25) + 0.25 when it
    has steps (marked first and following ones, or three lines; half for two lines) + 0.20 x min(1, twice the share of
    the question's content words that it takes up). English and Chinese.

    Guards: as for ``reasoning_quality`` (repetitions, copies of the prompt, stuffing, over 400 words, no clear SQL).
    """
    parts = [_thinking(sample, context) for sample in samples]
    return with_components(parts, "grounding", "length", "steps", "coverage")


def _thinking(sample: RewardSample, context: RewardContext) -> tuple[float, tuple[float, ...]]:
    own = _own_reasoning(sample, context)
    if own is None:
        return 0.0, (0.0,) * 4
    found, used = own
    parts = (
        len(mentioned(used, found.text)) / len(used) if used else 0.0,
        min(1.0, found.words / 25),
        1.0 if found.steps or found.lines >= 3 else 0.5 if found.lines == 2 else 0.0,
        min(1.0, 2 * question_coverage(sample.example.question, found.text)),
    )
    total = sum(weight * part for weight, part in zip((0.30, 0.25, 0.25, 0.20), parts, strict=True))
    return total * found.length_factor, parts


@reward("self_assessment", weight=0.25, needs=("gold", "database"))
def self_assessment(samples: Sequence[RewardSample], context: RewardContext) -> RewardResult:
    """F1 of the issues that the completion names against those its SQL has; range [0, 1], weight 0.25.

    Issues are those of :data:`text2sql.sql.ISSUE_RULES`, by name or Chinese name; ``none`` (``无``) where there are
    none, which scores 1 if that is true. No account, or no clear SQL, scores 0. A form of answer without a place for
    them names those that its thinking mentions.

    Guard: SQL that does not match is not without fault, so that its account scores at most 0.5.
    """
    scores, precisions, recalls = [], [], []
    for sample, judged in zip(samples, context.judge(samples), strict=True):
        precision = recall = 0.0
        if judged.sql and (judged.answer.issues or judged.answer.undeclared):
            said = _named_issues(judged.answer)
            there = {i.name for i in find_issues(judged.sql, sample.example.question, sample.example.schema)}
            precision = len(said & there) / len(said) if said else float(not there)
            recall = len(said & there) / len(there) if there else float(not said)
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        scores.append(f1 if judged.matched else min(f1, _WRONG_AT_MOST))
        precisions.append(precision)
        recalls.append(recall)
    return RewardResult(scores, {"precision": precisions, "recall": recalls})


def _named_issues(answer: Answer) -> frozenset[str]:
    if not answer.undeclared:
        return declared_issues(answer.issues)
    text = answer.reasoning.lower()
    return frozenset(n for n, rule in ISSUE_RULES.items() if n in text or (rule.alias and rule.alias.lower() in text))


def declared_issues(text: str) -> frozenset[str]:
    """Names of the issues that an account lists; words that name no known issue stay, and count as wrong."""
    aliases = {rule.alias.lower(): name for name, rule in ISSUE_RULES.items() if rule.alias}
    parts = (part.strip(" \t-*.。:：").lower() for part in _SEPARATOR.split(text))
    return frozenset(aliases.get(part, part.replace(" ", "_")) for part in parts if part and part not in _NONE)


@reward("sql_structure", weight=0.30, needs=("gold", "database"))
def sql_structure(samples: Sequence[RewardSample], context: RewardContext) -> RewardResult:
    """1 minus the severities of the SQL's issues, at least 0; range [0, 1], weight 0.30.

    Guards: SQL that does not match earns at most 0.5, SQL that does not run nothing.
    """
    scores, counts = [], []
    for sample, judged in zip(samples, context.judge(samples), strict=True):
        issues = find_issues(judged.sql, sample.example.question, sample.example.schema)
        tidy = max(0.0, 1.0 - sum(issue.severity for issue in issues))
        scores.append(tidy if judged.matched else min(tidy, _WRONG_AT_MOST) if judged.ran else 0.0)
        counts.append(float(len(issues)))
    return RewardResult(scores, {"issues": counts})
