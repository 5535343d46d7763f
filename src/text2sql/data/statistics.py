"""What the report says of a split, counted row by row so that a split of any size can be described."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from text2sql.prompts import build_messages
from text2sql.records import Example


def prompt_chars(example: Example) -> int:
    """Characters of the prompt: system and user turn without the template around them."""
    messages = build_messages(example.question, example.schema, example.evidence)
    return sum(len(message["content"]) for message in messages)


@dataclass
class SplitStatistics:
    """Counts of one split; ``limit`` is the recipe's ``max_prompt_chars``."""

    limit: int | None = None
    kept: int = 0
    over_limit: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    difficulty: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    databases: set[str] = field(default_factory=set)

    def add(self, example: Example) -> None:
        """Count an example that was kept."""
        length = prompt_chars(example)
        self.kept += 1
        self.over_limit += self.limit is not None and length > self.limit
        self.lengths[length] += 1
        self.difficulty[example.difficulty or "unknown"] += 1
        self.databases.add(example.db_id)

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {
            "kept": self.kept,
            "rejected": dict(sorted(self.rejected.items())),
            "databases": len(self.databases),
            "difficulty": dict(sorted(self.difficulty.items())),
            "prompt_chars": _distribution(self.lengths),
            "over_max_prompt_chars": self.over_limit,
        }


def _distribution(lengths: Counter[int]) -> dict[str, int]:
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
