"""The grammar: SQL patterns and their phrasings, read from YAML so that users can extend both."""

import random
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from text2sql.errors import UserError

Phrasings = dict[str, list[str]]


@dataclass(frozen=True)
class Pattern:
    """A SQL template with its slots (name -> ``role@table``) and how often it is drawn."""

    name: str
    weight: float
    slots: dict[str, str]
    sql: str

    @property
    def tables(self) -> str:
        """What the pattern binds: ``one`` table, a ``pair`` (child and parent) or a ``chain`` of three."""
        if "{mid}" in self.sql:
            return "chain"
        return "pair" if "{parent}" in self.sql else "one"


@dataclass(frozen=True)
class Language:
    """Phrasings of one language: words, conditions and patterns, each by register."""

    code: str
    words: dict[str, Phrasings]
    conditions: dict[str, Phrasings]
    patterns: dict[str, Phrasings]

    def choose(self, phrasings: Phrasings, register: str, rng: random.Random, *, strict: bool = False) -> str:
        """One phrasing; in the held-out register half of the phrasings are natural, unless ``strict``."""
        if register == "heldout" and not strict and rng.random() < 0.5:
            register = "natural"
        return rng.choice(phrasings[register])


@cache
def load_patterns() -> tuple[Pattern, ...]:
    """The patterns of the toy databases."""
    return tuple(Pattern(**entry) for entry in read_yaml("patterns.yaml"))


@cache
def load_language(code: str) -> Language:
    """The phrasings of language ``code``.

    Raises:
        UserError: there is no such language.
    """
    known = sorted(p.name[:-5] for p in files(__package__).iterdir() if p.name.endswith(".yaml") and len(p.name) == 7)
    if code not in known:
        raise UserError(f"language {code!r}: known languages are {', '.join(known)}")
    return Language(code, **read_yaml(f"{code}.yaml"))


@cache
def read_yaml(name: str) -> Any:
    """A data file of this package, read once; not to be changed."""
    return yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))
