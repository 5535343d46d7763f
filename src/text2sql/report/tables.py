"""Ledger rows as Markdown tables, in English and Chinese.

Protocol, n, decoding and seeds stand in every row: a table that is cut out of its page must still tell them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from text2sql import ledger
from text2sql.evaluate import LEVELS
from text2sql.ledger import Row

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Spec:
    """Which experiments a table shows, in order; a name that ends in ``.`` stands for all below it.

    Each experiment has a row; ``by_hardness`` gives it a column for each level, else its metrics stand in one cell.
    """

    experiments: tuple[str, ...]
    by_hardness: bool = True


TABLES: dict[str, Spec] = {
    "toy": Spec(("toy.base", "toy.lora_qv_sft", "toy.lora_all_sft", "toy.full_sft")),
    "tiny_base": Spec(("toy.base",)),
    "grpo": Spec(("toy.grpo_start", "toy.grpo_execution", "toy.grpo_reasoning", "toy.grpo_process")),
    "dpo": Spec(("toy.dpo",)),
    "reward_model": Spec(("toy.reward_model",), by_hardness=False),
    "select": Spec(("toy.select.greedy", "toy.select.vote_8", "toy.select.rm_best_of_8", "toy.select.oracle_8")),
    "rag": Spec(
        ("toy.rag.none", "toy.rag.dense", "toy.rag.hybrid", "toy.rag.reranked_question", "toy.rag.reranked_sql")
    ),
    "spider": Spec(("spider.",)),
    "parity": Spec(("parity.",), by_hardness=False),
    "data": Spec(("data.",), by_hardness=False),
    "bench": Spec(("bench.",), by_hardness=False),
}

NAMES: dict[str, tuple[str, str]] = {
    "toy.base": ("tiny base, untuned", "微型基座，未微调"),
    "toy.lora_qv_sft": ("LoRA on q, v", "LoRA（q、v）"),
    "toy.lora_all_sft": ("LoRA on all linear layers", "LoRA（全部线性层）"),
    "toy.full_sft": ("all weights", "全参数"),
    "toy.grpo_start": ("before GRPO", "GRPO 之前"),
    "toy.grpo_execution": ("GRPO, execution reward", "GRPO，执行奖励"),
    "toy.grpo_reasoning": ("GRPO, reasoning reward", "GRPO，推理奖励"),
    "toy.grpo_process": ("GRPO, process reward", "GRPO，过程奖励"),
    "toy.dpo": ("DPO on revision pairs", "DPO（修订对）"),
    "toy.select.greedy": ("greedy", "贪心解码"),
    "toy.select.vote_8": ("vote of 8", "8 个样本投票"),
    "toy.select.rm_best_of_8": ("best of 8 by reward model", "奖励模型 8 选 1"),
    "toy.select.oracle_8": ("any of 8 right (upper bound)", "8 个中任一正确（上界）"),
    "spider.tiny_sft": ("tiny model, SFT on Spider train", "微型模型，Spider 训练集 SFT"),
}

_HEADS: dict[Language, dict[str, str]] = {
    "en": {
        "model": "Model", "accuracy": "Execution accuracy", "easy": "Easy", "medium": "Medium", "hard": "Hard",
        "extra": "Extra", "split": "Split", "protocol": "Protocol", "decoding": "Decoding", "seeds": "Seeds",
        "measured": "Measured", "figures": "Figures", "machine": "Machine", "none": "No measurement yet.",
    },
    "zh": {
        "model": "模型", "accuracy": "执行准确率", "easy": "简单", "medium": "中等", "hard": "困难",
        "extra": "极难", "split": "划分", "protocol": "评测协议", "decoding": "解码", "seeds": "随机种子",
        "measured": "实验", "figures": "数值", "machine": "机器", "none": "尚无测量结果。",
    },
}  # fmt: skip


def label(experiment: str, language: Language = "en") -> str:
    """What an experiment is called in tables and figures; its own name in code style where it has no other."""
    names = NAMES.get(experiment)
    return names[language == "zh"] if names else f"`{experiment}`"


def markdown(name: str, rows: Sequence[Row], language: Language) -> str:
    """The table ``name`` (a key of ``TABLES``) of all rows, without a trailing newline."""
    spec, heads = TABLES[name], _HEADS[language]
    groups = _groups(spec, rows)
    if not groups:
        return heads["none"]
    if spec.by_hardness:
        keys = ("model", "accuracy", *LEVELS)
        columns = [heads[key] for key in keys] + [
            "n",
            *(heads[key] for key in ("split", "protocol", "decoding", "seeds")),
        ]
        body = [_accuracy_row(group, language) for group in groups]
        numbers = range(1, 3 + len(LEVELS))
    else:
        columns = [heads["measured"], heads["figures"], "n", heads["machine"]]
        times = Counter(group[-1].experiment for group in groups)
        body = [_metric_row(group, language, times[group[-1].experiment] > 1) for group in groups]
        numbers = range(2, 3)
    rule = ["---:" if position in numbers else "---" for position in range(len(columns))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [columns, rule, *body])


def percent(rows: Sequence[Row], metric: str) -> str:
    """Mean of a fraction over rows as percent, with the standard deviation where there are several seeds."""
    summary = ledger.summarize(rows, metric)
    if summary is None:
        return "-"
    spread = f" ± {100 * summary.spread:.1f}" if len(summary.seeds) > 1 else ""
    return f"{100 * summary.mean:.1f}{spread}"


def _groups(spec: Spec, rows: Sequence[Row]) -> list[list[Row]]:
    """The latest rows of every experiment and split, in the table's order."""
    known = list(dict.fromkeys(row.experiment for row in rows))
    names: list[str] = []
    for name in spec.experiments:
        names += [name] if not name.endswith(".") else sorted(other for other in known if other.startswith(name))
    groups = []
    for name in names:
        splits = sorted({row.split for row in rows if row.experiment == name})
        groups += [ledger.latest(rows, name, split) for split in splits]
    return groups


def _accuracy_row(group: list[Row], language: Language) -> list[str]:
    newest = group[-1]
    cells = [label(newest.experiment, language), percent(group, "execution_accuracy")]
    cells += [percent(group, f"execution_accuracy_{level}") for level in LEVELS]
    seeds = ", ".join(str(row.seed) for row in group)
    return [*cells, str(newest.n), newest.split, newest.protocol, newest.decoding, seeds]


def _metric_row(group: list[Row], language: Language, several: bool) -> list[str]:
    """Metrics in one cell, without those of parts (``part/metric``), which stay in the ledger; of an experiment that was
    run on ``several`` splits, the name tells which."""
    newest = group[-1]
    figures = []
    for metric in (name for name in newest.metrics if "/" not in name):
        summary = ledger.summarize(group, metric)
        assert summary is not None
        value = (
            percent(group, metric) + " %" if metric.endswith(("accuracy", "recall", "rate")) else _short(summary.mean)
        )
        figures.append(f"{metric.replace('_', ' ')} {value}")
    name = label(newest.experiment, language) + (f" {newest.split}" if several else "")
    return [name, "; ".join(figures), str(newest.n), newest.machine]


def _short(value: float) -> str:
    """Four digits, and never an exponent for large numbers."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
