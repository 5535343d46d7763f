"""Ledger rows as Markdown, in English and Chinese; the templates of ``words.yaml`` are filled in with their figures.

Protocol, n, decoding and seeds stand in every row of accuracies: a table that is copied elsewhere must still tell them.
"""

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from text2sql import ledger
from text2sql.errors import UserError
from text2sql.evaluate.score import LEVELS
from text2sql.ledger import Row

Language = Literal["en", "zh"]

WORDS: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(
    Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
)

ACCURACIES: dict[str, tuple[str, ...]] = {
    "toy": (
        "toy.baseline_commonest",
        "toy.baseline_nearest",
        "toy.base",
        "toy.lora_qv_sft",
        "toy.lora_all_sft",
        "toy.full_sft",
    ),
    "tiny_base": ("toy.base",),
    "grpo": ("toy.grpo_start", "toy.grpo_execution", "toy.grpo_reasoning", "toy.grpo_process"),
    "spider": ("spider.tiny_sft",),
    "rag": tuple(f"toy.rag.{way}" for way in ("none", "dense", "hybrid", "reranked_question", "reranked_sql")),
}
"""Tables of execution accuracy by hardness: the experiments of each, in order."""

MEASUREMENTS: dict[str, tuple[str, ...]] = {
    "parity_table": ("parity.",),
    "data_table": ("data.", "spider.literals", "spider.rag"),
    "answers_table": ("spider.repair_published", "spider.vote_published"),
    "trees_table": ("toy.tree", "toy.reward_model", "toy.select.", "toy.repair", "toy.dpo"),
    "bench_table": ("bench.",),
}
"""Tables of other measurements: all experiments whose name begins so."""

BLOCKS = (*ACCURACIES, *MEASUREMENTS, *WORDS["sentences"])

_HEADS = {
    "en": "Model|Execution accuracy|Easy|Medium|Hard|Extra|n|Split|Protocol|Decoding|Seeds".split("|"),
    "zh": "模型|执行准确率|简单|中等|困难|极难|n|划分|评测协议|解码|随机种子".split("|"),
}
_MEASUREMENT_HEADS = ["Measured", "Result", "Command", "Machine"]
_NONE = {"en": "No measurement yet.", "zh": "尚无测量结果。"}


def markdown(name: str, rows: Sequence[Row], language: Language) -> str:
    """The block ``name`` (one of ``BLOCKS``) of all rows, without a trailing newline."""
    if name in WORDS["sentences"]:
        return _sentences(name, rows, language) or _NONE[language]
    if name in ACCURACIES:
        groups = [group for experiment in ACCURACIES[name] for group in _by_split(experiment, rows)]
        table = [_HEADS[language], ["---", *["---:"] * 6, *["---"] * 4]]
        table += [_accuracy_row(group, language) for group in groups]
    else:
        known = sorted({row.experiment for row in rows if row.experiment.startswith(MEASUREMENTS[name])})
        groups = [group for experiment in known for group in _by_split(experiment, rows)]
        table = [_MEASUREMENT_HEADS, ["---"] * 4, *map(_measurement_row, groups)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table) if groups else _NONE[language]


def percent(rows: Sequence[Row], metric: str) -> str:
    """Mean of a fraction over rows as percent, with the standard deviation where there are several seeds."""
    summary = ledger.summarize(rows, metric)
    if summary is None:
        return "-"
    spread = f" ± {100 * summary.spread:.1f}" if len(summary.seeds) > 1 else ""
    return f"{100 * summary.mean:.1f}{spread}"


def _by_split(experiment: str, rows: Sequence[Row]) -> list[list[Row]]:
    """The latest rows of every split of an experiment."""
    splits = sorted({row.split for row in rows if row.experiment == experiment})
    return [ledger.latest(rows, experiment, split) for split in splits]


def _accuracy_row(group: list[Row], language: Language) -> list[str]:
    newest = group[-1]
    metrics = ["execution_accuracy", *(f"execution_accuracy_{level}" for level in LEVELS)]
    cells = [WORDS["names"][newest.experiment][language], *(percent(group, metric) for metric in metrics)]
    seeds = ", ".join(str(row.seed) for row in group)
    return [*cells, str(newest.n), newest.split, newest.protocol, newest.decoding, seeds]


class _Figures(string.Formatter):
    """Replaces fields by figures of ``rows``, or of the rows ``own`` where a field names no experiment.

    Raises:
        KeyError: a figure has not been measured.
    """

    def __init__(self, rows: Sequence[Row], own: Sequence[Row] = ()) -> None:
        self.rows, self.own = rows, own

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        *place, metric = field_name.split()
        group = ledger.latest(self.rows, *place) if place else self.own
        if group and metric in ("n", "split"):
            return getattr(group[-1], metric), field_name
        summary = ledger.summarize(group, metric)
        if summary is None:
            raise KeyError(field_name)
        return summary.mean, field_name


def _sentences(name: str, rows: Sequence[Row], language: Language) -> str:
    """The sentences called ``name`` without those that have a figure which is not measured."""
    found = []
    for text in WORDS["sentences"][name][language]:
        try:
            found.append(_Figures(rows).format(text))
        except KeyError:
            continue
    return ("" if language == "zh" else " ").join(found)


def _measurement_row(group: Sequence[Row]) -> list[str]:
    """What was measured, the result, the command and the machine, of an experiment's latest rows.

    Raises:
        UserError: ``words.yaml`` has no words for it, or they name a figure that the rows do not have.
    """
    newest = group[-1]
    try:
        words = WORDS["measurements"][newest.experiment]
        cells = [_Figures((), group).format(words[part]) for part in ("what", "result")]
    except KeyError as error:
        raise UserError(
            f"{newest.experiment}: words.yaml of text2sql.report lacks it, or the row lacks {error}"
        ) from None
    command = newest.command if newest.command.startswith("python ") else f"python benchmarks/{newest.command}"
    return [*cells, f"`{command}`", newest.machine]
