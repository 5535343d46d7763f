"""The report's figures of a split, counted row by row so that a split of any size can be described, and its HTML page."""

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment

from text2sql.artifacts import write_text
from text2sql.data.adapters import TAG_FAULTS
from text2sql.data.options import CommonOptions
from text2sql.data.parts import KEYWORDS, Head
from text2sql.prompts import build_messages

_SAMPLE = 2000
_QUANTILES = ("p50", "p90", "p95", "p99", "max")
_SHOWN = 3


@dataclass
class SplitStatistics:
    """Counts of one split; ``limit`` is the recipe's ``max_prompt_chars``."""

    limit: int | None = None
    kept: int = 0
    over_limit: int = 0
    without: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    difficulty: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    tables: Counter[int] = field(default_factory=Counter)
    keywords: Counter[int] = field(default_factory=Counter)
    databases: set[str] = field(default_factory=set)
    linked: list[int] = field(default_factory=lambda: [0] * 6)
    kinds: Counter[str] = field(default_factory=Counter)
    thinking: Counter[int] = field(default_factory=Counter)

    def add(self, head: Head) -> None:
        """Count an example that was kept."""
        self.kept += 1
        self.over_limit += self.limit is not None and head.chars > self.limit
        self.lengths[head.chars] += 1
        self.difficulty[head.difficulty] += 1
        self.tables[head.tables] += 1
        self.keywords.update(head.keywords)
        self.databases.add(head.db_id)
        self.kinds[head.kind] += bool(head.kind)
        self.thinking[head.thinking] += bool(head.thinking)
        if head.linked:
            self.linked = [one + other for one, other in zip(self.linked, head.linked, strict=True)]

    def reject(self, row: dict[str, Any]) -> None:
        """Count a row that was left out; the first few of each reason are shown."""
        self.rejected[row["reason"]] += 1
        shown = self.shown.setdefault(row["reason"], [])
        if len(shown) < _SHOWN:
            shown.append({key: row[key][:300] for key in ("question_id", "question", "sql", "detail")})

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {
            "kept": self.kept,
            "rejected": dict(sorted(self.rejected.items())),
            "rejected_examples": dict(sorted(self.shown.items())),
            "databases": len(self.databases),
            "difficulty": dict(sorted(self.difficulty.items())),
            "prompt_chars": distribution(self.lengths),
            "over_max_prompt_chars": self.over_limit,
            "without_worse_answer": self.without["ranking"],
            "without_database": self.without["grpo"],
            "tables_per_query": {str(count): rows for count, rows in sorted(self.tables.items())},
            "keywords": {KEYWORDS[number]: rows for number, rows in self.keywords.most_common()},
            **({"schema_linking": self._linking()} if self.linked[5] else {}),
            **({"process": self._process()} if +self.kinds or +self.thinking else {}),
        }

    def _process(self) -> dict[str, Any]:
        """Of rows with thinking: their types, what became of their tags, lengths of thinking in characters."""
        tags = {fault: self.rejected[fault] for fault in TAG_FAULTS if self.rejected[fault]}
        kinds = dict((+self.kinds).most_common())
        lengths = distribution(+self.thinking)
        return {"types": kinds, "tags": {"complete": (+self.thinking).total(), **tags}, "thinking_chars": lengths}

    def _linking(self) -> dict[str, float]:
        names = ("table_recall", "column_recall", "columns_shown")
        counts = zip(names, self.linked[::2], self.linked[1::2], strict=True)
        return {name: round(part / max(1, whole), 4) for name, part, whole in counts}


def distribution(lengths: Counter[int]) -> dict[str, int]:
    """Mean, quantiles and maximum of the counted lengths; a quantile is the least length that reaches its share."""
    if not lengths:
        return {}
    import numpy as np

    values, counts = np.array(sorted(lengths.items())).T
    places = np.searchsorted(100 * counts.cumsum(), np.array([50, 90, 95, 99, 100]) * counts.sum())
    mean = round(int(values @ counts) / int(counts.sum()))
    return {"mean": mean, **dict(zip(_QUANTILES, values[places].tolist(), strict=True))}


def token_lengths(examples: Path, rows: int, folder: Path, options: CommonOptions) -> dict[str, Any]:
    """Tokens of prompt and gold SQL, on up to 2,000 rows evenly spread over the file; the tokenizer is in ``folder``."""
    from tokenizers import Tokenizer

    tokenizer, asked = (
        Tokenizer.from_file(str(folder / "tokenizer.json")),
        (options.answer_format, options.system_prompt),
    )
    prompts: Counter[int] = Counter()
    answers: Counter[int] = Counter()
    with examples.open("rb") as lines:
        for row in map(json.loads, islice(lines, 0, None, max(1, -(-rows // _SAMPLE)))):
            messages = build_messages(row["question"], row["schema"], row["evidence"], *asked, row.get("values", ""))
            prompts[sum(len(tokenizer.encode(message["content"]).ids) for message in messages)] += 1
            answers[len(tokenizer.encode(row["sql"]).ids)] += 1
    return {"rows": prompts.total(), "prompt": distribution(prompts), "sql": distribution(answers)}


_ORDER = ("easy", "medium", "hard", "extra")


def write_page(target: Path, name: str, report: dict[str, Any]) -> None:
    """Write the HTML page of a report, whole. Equal reports give equal bytes."""
    template = files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    text = Environment(autoescape=True).from_string(template).render(name=name, report=report, plots=_plots(report))
    write_text(target, text)


def _plots(report: dict[str, Any]) -> list[tuple[str, str]]:
    splits = {name: found for name, found in report["splits"].items() if found["kept"]}
    in_tokens = any("tokens" in found for found in splits.values())
    unit = "tokens" if in_tokens else "characters"
    lengths = {
        name: found["tokens"]["prompt"] if in_tokens else found["prompt_chars"] for name, found in splits.items()
    }
    hardness, tables, words = (
        {name: {key: count / found["kept"] for key, count in found[counts].items()} for name, found in splits.items()}
        for counts in ("difficulty", "tables_per_query", "keywords")
    )
    dropped = {name: found["rejected"] for name, found in report["splits"].items() if found["rejected"]}
    known = sorted({level for found in hardness.values() for level in found}, key=lambda x: ((*_ORDER, x).index(x), x))
    reasons = sorted({reason for found in dropped.values() for reason in found})
    share = "share of queries"
    plots = [
        (f"Length of prompts in {unit}", _bars(lengths, _QUANTILES, unit)),
        ("Hardness", _bars(hardness, known, share)),
        ("Tables per query", _bars(tables, sorted({n for found in tables.values() for n in found}, key=int), share)),
        ("Keywords", _bars(words, list(dict.fromkeys(w for found in words.values() for w in found)), share)),
    ]
    return [*plots, ("Rows left out", _bars(dropped, reasons, "rows"))] if reasons else plots


def _bars(series: dict[str, dict[str, float]], labels: Sequence[str], unit: str) -> str:
    """Grouped bars as SVG text, one colour a split."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.hashsalt": "text2sql", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(max(4.5, 0.55 * len(labels) + 2), 2.8), layout="constrained")
        width = 0.8 / max(1, len(series))
        for place, (name, found) in enumerate(series.items()):
            positions = [number + place * width for number in range(len(labels))]
            axes.bar(positions, [found.get(label, 0) for label in labels], width, label=name)
        middle = 0.4 - width / 2
        axes.set_xticks([number + middle for number in range(len(labels))], labels)
        if len(labels) >= 7 or max(map(len, labels), default=0) > 12:
            pyplot.setp(axes.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
        axes.set_ylabel(unit)
        if series:
            figure.legend(loc="outside upper center", ncols=len(series), frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    return out.getvalue()[out.getvalue().index("<svg") :]
