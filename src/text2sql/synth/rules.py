"""The grammar of questions: rules that expand into one another, read from ``english.yaml`` and ``chinese.yaml``.

A production is text with ``{name}``, which is a part of the question or another rule, and ``(one|or other)`` choices, which
may be empty. A rule's productions stand under registers:

plain    what the tiny base learns language from
natural  how people ask; what fine-tuning is trained on
heldout  other ways to put a sentence together, kept for evaluation

A rule that has no productions of a register uses those of ``natural``. Words are in no register: only composition is held out.
"""

import random
import re
from collections.abc import Mapping
from functools import cache

from text2sql.errors import UserError
from text2sql.synth.grammar import read_yaml

LANGUAGES = {"en": "english.yaml", "zh": "chinese.yaml"}
REGISTERS = ("plain", "natural", "heldout")
_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
Productions = dict[str, list[str]]


class Rules:
    """The rules of one language and register."""

    def __init__(self, language: str, register: str, rng: random.Random) -> None:
        self.language, self.register, self.rng = language, register, rng
        self.known, self.tables = _load(language)

    def has(self, name: str) -> bool:
        """Whether there is such a rule."""
        return name in self.known

    def expand(self, name: str, parts: Mapping[str, str]) -> str:
        """A text of the rule; what ``parts`` has is put in as it is."""
        rule = self.known[name]
        text = self.rng.choice(rule.get(self.register) or rule["natural"])
        while found := _CHOICE.search(text):
            text = text[: found.start()] + self.rng.choice(found[1].split("|")) + text[found.end() :]
        return text.format_map(_Parts(self, parts))

    def table(self, name: str) -> dict[str, list[str]]:
        """A table of words by key, such as the adjectives of columns."""
        return self.tables.get(name, {})


class _Parts(dict[str, str]):
    def __init__(self, rules: Rules, parts: Mapping[str, str]) -> None:
        super().__init__(parts)
        self.rules = rules

    def __missing__(self, key: str) -> str:
        return self.rules.expand(key, self)


@cache
def _load(language: str) -> tuple[dict[str, Productions], dict[str, dict[str, list[str]]]]:
    if language not in LANGUAGES:
        raise UserError(f"language {language!r}: known languages are {', '.join(LANGUAGES)}")
    found = read_yaml(LANGUAGES[language])
    rules = {name: rule if isinstance(rule, dict) else {"natural": rule} for name, rule in found["rules"].items()}
    return rules, found.get("tables", {})
