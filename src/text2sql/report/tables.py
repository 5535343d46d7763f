"""Ledger rows as Markdown, in English and Chinese.

Protocol, n, decoding and seeds stand in every row of accuracies: a table that is copied elsewhere must still tell them.
"""

from collections.abc import Sequence

from text2sql import ledger
from text2sql.evaluate.score import LEVELS
from text2sql.ledger import Row
from text2sql.report.words import WORDS, Language, measurement_row, sentences

ACCURACIES: dict[str, tuple[str, ...]] = {
    "toy": ("toy.base", "toy.lora_qv_sft", "toy.lora_all_sft", "toy.full_sft"),
    "tiny_base": ("toy.base",),
    "grpo": ("toy.grpo_start", "toy.grpo_execution", "toy.grpo_reasoning", "toy.grpo_process"),
    "spider": ("spider.tiny_sft",),
}
"""Tables of execution accuracy by hardness: the experiments of each, in order."""

MEASUREMENTS = {"parity_table": "parity.", "data_table": "data.", "bench_table": "bench."}
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
        return sentences(name, rows, language) or _NONE[language]
    if name in ACCURACIES:
        groups = [group for experiment in ACCURACIES[name] for group in _by_split(experiment, rows)]
        table = [_HEADS[language], ["---", *["---:"] * 6, *["---"] * 4]]
        table += [_accuracy_row(group, language) for group in groups]
    else:
        known = sorted({row.experiment for row in rows if row.experiment.startswith(MEASUREMENTS[name])})
        groups = [group for experiment in known for group in _by_split(experiment, rows)]
        table = [_MEASUREMENT_HEADS, ["---"] * 4, *map(measurement_row, groups)]
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
