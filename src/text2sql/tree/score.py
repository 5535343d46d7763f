"""How well a reward model orders pairs: accuracy with its interval, by hardness and by gap, and how sure it may be."""

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table

from text2sql import ledger
from text2sql.artifacts import digest, whole_path, write_json
from text2sql.errors import UserError
from text2sql.evaluate.score import Score, score_of
from text2sql.records import read_jsonl
from text2sql.rewards.learned import Scorer
from text2sql.tree.options import ScoreOptions

_SIDES = ("chosen", "rejected")
_BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def score_pairs(options: ScoreOptions) -> dict[str, Any]:
    """Score both queries of every pair; writes ``reward_report.json`` and ``calibration.png``, and the ledger row asked for.

    Raises:
        UserError: there are no pairs, or no reward model.
    """
    started = time.monotonic()
    pairs = list(read_jsonl(options.pairs, dict))
    if not pairs:
        raise UserError(f"{options.pairs}: no pairs in it")
    margins = _margins(pairs, Scorer(options.reward_model, options.batch_size))
    right = [margin > 0 for margin in margins]
    bins = calibration(margins)
    report = {
        "pairs": str(options.pairs),
        "overall": asdict(score_of(right)),
        "by_difficulty": _by([pair["difficulty"] for pair in pairs], right),
        "by_gap": _by([pair["gap"] for pair in pairs], right),
        "calibration": bins,
        "calibration_error": calibration_error(bins),
    }
    write_json(options.output_dir / "reward_report.json", report)
    _draw(bins, score_of(right), options)
    _show(report)
    if options.experiment:
        ledger.append(options.ledger, _row(options, report, len(pairs), time.monotonic() - started))
    return report


def _margins(pairs: Sequence[dict[str, Any]], scorer: Scorer) -> list[float]:
    """How much higher the chosen query is scored than the rejected one."""
    prompts = [scorer.render(pair["messages"]) for pair in pairs]
    sides = [[(prompt, pair[key]["content"]) for prompt, pair in zip(prompts, pairs, strict=True)] for key in _SIDES]
    chosen, rejected = (scorer(side) for side in sides)
    return [better - worse for better, worse in zip(chosen, rejected, strict=True)]


def _by(kinds: Sequence[str], right: Sequence[bool]) -> dict[str, Any]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for kind, hit in zip(kinds, right, strict=True):
        groups[kind].append(hit)
    return {kind: asdict(score_of(hits)) for kind, hits in sorted(groups.items())}


def calibration(margins: Sequence[float]) -> list[dict[str, float]]:
    """Pairs by how sure the model is of its own order, the sigmoid of the margin: mean of that, and the share in order."""
    sure = [(1 / (1 + math.exp(-min(abs(margin), 700))), margin > 0) for margin in margins]
    bins = []
    for low, high in pairwise(_BINS):
        inside = [(p, hit) for p, hit in sure if low <= p < high or (high == 1.0 and p == 1.0)]
        if inside:
            said, hits = (sum(part) / len(inside) for part in zip(*inside, strict=True))
            bins.append({"low": low, "high": high, "n": len(inside), "said": said, "accuracy": hits})
    return bins


def calibration_error(bins: Sequence[dict[str, float]]) -> float:
    """Expected calibration error (Naeini et al., 2015): the mean over pairs of |said - accuracy| of their bin."""
    return sum(part["n"] * abs(part["said"] - part["accuracy"]) for part in bins) / sum(part["n"] for part in bins)


def _draw(bins: Sequence[dict[str, float]], overall: Score, options: ScoreOptions) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0.5, 1], [0.5, 1], color="#8C8C8C", linewidth=1)
    axes.plot([part["said"] for part in bins], [part["accuracy"] for part in bins], marker="o", color="#0072B2")
    axes.set(xlabel="Probability that the model gives its order", ylabel="Share of pairs in order", ylim=(0, 1.02))
    axes.set_title(f"{overall.n} held-out pairs, {overall.accuracy:.1%} in order", fontsize=10)
    with whole_path(options.output_dir / "calibration.png") as partial:
        figure.savefig(partial, format="png", dpi=150)


def _show(report: dict[str, Any]) -> None:
    table = Table("", title="pairs in order", title_justify="left")
    for head in ("n", "accuracy", "95 % interval"):
        table.add_column(head, justify="right")
    rows = {"all": report["overall"], **report["by_difficulty"]}
    rows |= {f"gap {key}": value for key, value in report["by_gap"].items()}
    for name, found in rows.items():
        table.add_row(name, f"{found['n']}", f"{found['accuracy']:.1%}", f"{found['low']:.1%} - {found['high']:.1%}")
    Console().print(table)


def _row(options: ScoreOptions, report: dict[str, Any], n: int, seconds: float) -> ledger.Row:
    overall = report["overall"]
    metrics = {"pairwise_accuracy": overall["accuracy"], "low": overall["low"], "high": overall["high"]}
    metrics |= {f"accuracy_{kind}": found["accuracy"] for kind, found in report["by_difficulty"].items() if kind}
    metrics |= {f"accuracy_gap_{kind}": found["accuracy"] for kind, found in report["by_gap"].items()}
    return ledger.new_row(
        options.experiment or "",
        profile=options.profile,
        seed=options.seed,
        split=options.split,
        n=n,
        metrics={name: round(value, 6) for name, value in metrics.items()}
        | {"calibration_error": round(report["calibration_error"], 6)},
        data_hash=digest(options.pairs),
        seconds=seconds,
    )
