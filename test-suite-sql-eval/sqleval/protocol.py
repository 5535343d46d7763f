"""The named rules by which a prediction is judged, and the settings of a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sqleval.outcome import Verdict

Name = Literal["spider-exec", "spider-test-suite", "bird-ex", "bird-soft-f1", "bird-ves", "strict"]
NAMES: tuple[str, ...] = get_args(Name)
_FLAGS = ("plug_value", "keep_distinct", "official_quirks")


@dataclass(frozen=True)
class Protocol:
    """A rule and its flags.

    ``spider-exec`` compares on the database itself, ``spider-test-suite`` on every instance in its folder;
    ``bird-ex``, ``bird-soft-f1`` and ``bird-ves`` are BIRD's; ``strict`` respects column order, duplicates and types.

    Raises:
        ValueError: the name is unknown, or a flag does not belong to the rule.
    """

    name: str = "spider-exec"
    plug_value: bool = False
    keep_distinct: bool = False
    official_quirks: bool = False

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"unknown protocol {self.name!r}; choose one of {', '.join(NAMES)}")
        if not self.spider and (self.plug_value or self.keep_distinct):
            raise ValueError(f"--plug_value and --keep_distinct belong to the spider protocols, not to {self.name}")

    @classmethod
    def parse(cls, label: str) -> "Protocol":
        """The protocol of a :attr:`label`, for example ``spider-test-suite+keep_distinct``.

        Raises:
            ValueError: as the class does, or an unknown flag.
        """
        name, *flags = label.split("+")
        if unknown := set(flags) - set(_FLAGS):
            raise ValueError(f"unknown flag {', '.join(sorted(unknown))} in {label!r}; choose of {', '.join(_FLAGS)}")
        return cls(name, **dict.fromkeys(flags, True))

    @property
    def spider(self) -> bool:
        """Whether Spider's rewritings and comparison apply."""
        return self.name.startswith("spider")

    @property
    def graded(self) -> bool:
        """Whether a verdict's score can lie between right and wrong."""
        return self.name in ("bird-soft-f1", "bird-ves")

    @property
    def label(self) -> str:
        """Name and flags, for reports: ``spider-exec+plug_value``."""
        flags = [flag for flag in _FLAGS if getattr(self, flag)]
        return "+".join([self.name, *flags])

    def value(self, verdict: Verdict) -> float:
        """What a verdict adds to the total: its grade for graded protocols (R-VES: root of the reward), else 0 or 1."""
        if self.name == "bird-ves":
            return math.sqrt(verdict.score)
        return verdict.score if self.graded else float(verdict.correct)


@dataclass(frozen=True)
class Settings:
    """What to compute and how. ``keys`` maps each database to its foreign-key map (for exact match)."""

    folder: Path
    protocol: Protocol
    etype: str
    jobs: int
    timeout: float
    cache: Path | str | None = "default"
    keys: Mapping[str, Mapping[str, str]] | None = None
