"""What the report says of a split, counted row by row so that a split of any size can be described."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from text2sql.data.parts import KEYWORDS, Head
from text2sql.errors import UserError
from text2sql.prompts import build_messages
from text2sql.records import Example

_SAMPLE = 2000
_SHOWN = 3


@dataclass
class SplitStatistics:
    """Counts of one split; ``limit`` is the recipe's ``max_prompt_chars``."""

    limit: int | None = None
    kept: int = 0
    over_limit: int = 0
    unpaired: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    difficulty: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    tables: Counter[int] = field(default_factory=Counter)
    keywords: Counter[int] = field(default_factory=Counter)
    databases: set[str] = field(default_factory=set)
    linked: list[int] = field(default_factory=lambda: [0] * 6)

    def add(self, head: Head) -> None:
        """Count an example that was kept."""
        self.kept += 1
        self.over_limit += self.limit is not None and head.chars > self.limit
        self.lengths[head.chars] += 1
        self.difficulty[head.difficulty] += 1
        self.tables[head.tables] += 1
        self.keywords.update(head.keywords)
        self.databases.add(head.db_id)
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
            "without_worse_answer": self.unpaired,
            "tables_per_query": {str(count): rows for count, rows in sorted(self.tables.items())},
            "keywords": {KEYWORDS[number]: rows for number, rows in self.keywords.most_common()},
            **({"schema_linking": _shares(self.linked)} if self.linked[5] else {}),
        }


def _shares(counts: list[int]) -> dict[str, float]:
    tables, all_tables, columns, all_columns, left, whole = counts
    return {
        "table_recall": round(tables / max(1, all_tables), 4),
        "column_recall": round(columns / max(1, all_columns), 4),
        "columns_shown": round(left / whole, 4),
    }


def distribution(lengths: Counter[int]) -> dict[str, int]:
    """Mean, quantiles and maximum of the counted lengths."""
    total = lengths.total()
    if not total:
        return {}
    ordered = sorted(lengths.items())
    found = {"mean": round(sum(length * count for length, count in ordered) / total)}
    for percent in (50, 90, 95, 99, 100):
        seen = 0
        for length, count in ordered:
            seen += count
            if seen * 100 >= percent * total:
                found["max" if percent == 100 else f"p{percent}"] = length
                break
    return found


def require_tokenizer(folder: Path) -> None:
    """Raises :class:`UserError` where there is no tokenizer in the folder."""
    if not (folder / "tokenizer.json").is_file():
        raise UserError(
            f"tokenizer: {folder} has no tokenizer.json; bash scripts/download_model.sh, or leave the key out"
        )


def token_lengths(examples: Path, rows: int, folder: Path) -> dict[str, Any]:
    """Tokens of prompt and gold SQL, on up to 2,000 rows evenly spread over the file; the tokenizer is in ``folder``."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    step = max(1, -(-rows // _SAMPLE))
    prompts: Counter[int] = Counter()
    answers: Counter[int] = Counter()
    with examples.open("rb") as lines:
        for number, line in enumerate(lines):
            if number % step == 0:
                example = Example(**{k: v for k, v in json.loads(line).items() if k not in ("reasoning", "kind")})
                messages = build_messages(example.question, example.schema, example.evidence)
                prompts[sum(len(tokenizer.encode(message["content"]).ids) for message in messages)] += 1
                answers[len(tokenizer.encode(example.sql).ids)] += 1
    return {"rows": prompts.total(), "prompt": distribution(prompts), "sql": distribution(answers)}
