"""The named rules by which a prediction is judged. A figure without its protocol's label means nothing."""

from dataclasses import dataclass
from typing import Literal, get_args

Name = Literal["spider-exec", "spider-test-suite", "bird-ex", "bird-soft-f1", "bird-ves", "strict"]
NAMES: tuple[str, ...] = get_args(Name)


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

    @property
    def spider(self) -> bool:
        """Whether Spider's rewritings and comparison apply."""
        return self.name.startswith("spider")

    @property
    def label(self) -> str:
        """Name and flags, for reports: ``spider-exec+plug_value``."""
        flags = [flag for flag in ("plug_value", "keep_distinct", "official_quirks") if getattr(self, flag)]
        return "+".join([self.name, *flags])
