"""Features of a piece of reasoning, in English or Chinese, and the guards against texts that only imitate one.

A policy that is rewarded by word lists learns to recite them. So features are computed on what is left after the guards:
repeated sentences count once, sentences copied from the prompt not at all, and a text that is mostly terms and names, or
has no grammar, is stuffing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import yaml

from text2sql.sql.statement import parse_ddl

MOST_WORDS = 400  # a longer text scores less, and nothing from twice as many on
_STUFFED = 0.5  # share of words that are SQL terms or names, from which on a text is no reasoning
_LEAST_GRAMMAR = 0.1  # share of words such as "the" and "of" (的, 在), below which a text is no language
_LEAST_VARIETY = 0.25  # share of distinct words, below which a longer text is taken for repetition

_KNOWN = yaml.safe_load(files("text2sql.rewards").joinpath("words.yaml").read_text(encoding="utf-8"))
_TERMS: list[list[str]] = _KNOWN["terms"]
_GRAMMAR, _GRAMMAR_CJK = frozenset(_KNOWN["grammar"].split()), frozenset(_KNOWN["grammar_cjk"])
_CJK = re.compile(r"[\u3400-\u9fff]")
_WORDS = re.compile(r"[A-Za-z0-9_']+|[\u3400-\u9fff]")
_WORD_OF_NAME = re.compile(r"[a-z0-9]+")
_SENTENCE = re.compile(r"(?<=[.!?;。！？；])\s*|\n+")
_FIRST = re.compile(r"\b(?:step 1|first|start|begin|initial)|首先|第一|先|步骤\s*1", re.IGNORECASE)
_LATER = re.compile(
    r"\b(?:step 2|second|next|then|final|last|subsequent)|然后|接着|其次|最后|第二|再|步骤\s*2", re.IGNORECASE
)


@dataclass(frozen=True)
class Reasoning:
    """Features of a text. ``words`` counts Chinese at two characters a word; ``lines``, ``terms`` (of eleven SQL terms)
    and ``steps`` are of the text without repetitions and copies; ``stuffed`` says that it is no reasoning."""

    text: str
    words: float
    lines: int
    terms: int
    steps: bool
    stuffed: bool
    all_words: float

    @property
    def length_factor(self) -> float:
        """1 up to 400 words, falling to 0 at 800."""
        return min(1.0, max(0.0, 2.0 - self.all_words / MOST_WORDS))


def read_reasoning(text: str, prompt: str, names: frozenset[str]) -> Reasoning:
    """Features of ``text``; ``prompt`` is what copying is measured against, ``names`` are the schema's (lower case)."""
    kept = "\n".join(_own_sentences(text, prompt))
    lower, words = kept.lower(), count_words(kept)
    own = _WORDS.findall(lower)
    monotonous = len(own) > 40 and len(set(own)) < _LEAST_VARIETY * len(own)
    crammed = words >= 8 and _technical(lower, own, names) > _STUFFED * words
    grammar = sum(map(_GRAMMAR.__contains__, own)) + 0.5 * sum(map(_GRAMMAR_CJK.__contains__, own))
    babble = words >= 8 and grammar < _LEAST_GRAMMAR * words
    return Reasoning(
        text=kept,
        words=words,
        lines=sum(bool(line.strip()) for line in kept.splitlines()),
        terms=sum(any(spelling in lower for spelling in spellings) for spellings in _TERMS),
        steps=_FIRST.search(kept) is not None and _LATER.search(kept) is not None,
        stuffed=monotonous or crammed or babble,
        all_words=count_words(text),
    )


def _technical(lower: str, own: list[str], names: frozenset[str]) -> float:
    """How many words are SQL terms or names of the schema."""
    chinese = sum(len(s) * lower.count(s) for spellings in _TERMS for s in spellings if _CJK.match(s))
    return sum(map(_technical_words(names).__contains__, own)) + 0.5 * chinese


@lru_cache(maxsize=4096)
def _technical_words(names: frozenset[str]) -> frozenset[str]:
    of_names = {part for name in names for part in (name, *_WORDS.findall(name.replace("_", " ")))}
    of_terms = {part for spellings in _TERMS for spelling in spellings for part in spelling.split()}
    return frozenset(word for word in of_names | of_terms if not _CJK.match(word))


def count_words(text: str) -> float:
    """Words of a text; two Chinese characters count as one."""
    return len(_WORDS.findall(text)) - 0.5 * len(_CJK.findall(text))


def _own_sentences(text: str, prompt: str) -> list[str]:
    """Sentences in their order, without repetitions, and without those of four words and more that the prompt holds."""
    source = _plain(prompt)
    kept: dict[str, str] = {}
    for sentence in _SENTENCE.split(text):
        plain = _plain(sentence)
        copied = count_words(plain) >= 4 and plain in source
        if plain and not copied:
            kept.setdefault(plain, sentence.strip())
    return list(kept.values())


@lru_cache(maxsize=4096)
def _plain(text: str) -> str:
    return " ".join(_WORDS.findall(text.lower()))


def topic_factor(question: str, text: str) -> float:
    """1 for a text that takes up a third of the question's content words, falling to 0.5 for one that takes up none (it may
    put all in other words, or be about anything). A Chinese question's words cannot be found in a text that is not."""
    if _CJK.search(question) and not _CJK.search(text):
        return 1.0
    return min(1.0, 0.5 + 1.5 * question_coverage(question, text))


def question_coverage(question: str, text: str) -> float:
    """Share of the question's content words (Chinese: characters) that a text takes up."""
    wanted = set(_WORDS.findall(question.lower())) - _GRAMMAR
    return len(wanted & set(_WORDS.findall(text.lower()))) / len(wanted) if wanted else 1.0


@lru_cache(maxsize=4096)
def schema_names(schema: str) -> frozenset[str]:
    """Lower-case names of all tables and columns of ``CREATE TABLE`` text."""
    return frozenset(name.lower() for name in names_of(schema))


def names_of(schema: str) -> Iterator[str]:
    """Names of all tables and columns of ``CREATE TABLE`` text."""
    for table in parse_ddl(schema).tables:
        yield table.name
        yield from (column.name for column in table.columns)


def mentioned(names: frozenset[str], text: str) -> frozenset[str]:
    """Which of the lower-case names a text mentions as words of their own; ``pet_name`` may be written ``pet name``."""
    lower = text.lower()
    spaced = f" {' '.join(_WORD_OF_NAME.findall(lower))} "
    return frozenset(name for name in names if _is_mentioned(name, lower, spaced))


def _is_mentioned(name: str, lower: str, spaced: str) -> bool:
    words = _WORD_OF_NAME.findall(name)
    return f" {' '.join(words)} " in spaced if words else name in lower
