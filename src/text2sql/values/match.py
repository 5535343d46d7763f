"""Finds the stored values that a question means, and shows them to a model.

Values count whose words the question has, in any order and case, with or without accents, run together ("north carolina"
for ``'NorthCarolina'``), in another form ("french" for ``'France'``) or misspelt. The best come first, so that a budget
cuts the least likely.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from text2sql.schema import quote
from text2sql.values.index import Index, words_of

_SILENT = frozenset(
    "a an and are as at be by did do does each every for from had has have how in is it its list many me more most much name "
    "names not number of on or show than that the their them there these they those to was were what when where which who "
    "whom whose will with".split()
)
_MOST_VALUES_A_WORD = 200
_LEAST_SCORE = 0.6
_MOST_PLACES = 3


@dataclass(frozen=True)
class StoredValue:
    """A value as it is stored in a column; ``score`` is above 0, and 1 where the question has all of its words."""

    table: str
    column: str
    text: str
    score: float

    @property
    def line(self) -> str:
        """``table.column = 'stored value'``."""
        return f"{quote(self.table)}.{quote(self.column)} = '" + self.text.replace("'", "''") + "'"


def match(question: str, index: Index, most: int = 10) -> list[StoredValue]:
    """At most ``most`` stored values that the question means, the likeliest first."""
    words = words_of(question)
    asked = _forms(words, index)
    found: dict[int, tuple[int, str]] = {}
    for value, place, text in _candidates(words, asked, index):
        found[value] = (place, text)
    scored = [(_score(text, asked, index), place, text) for place, text in found.values()]
    places: dict[str, int] = {}
    chosen: list[StoredValue] = []
    for score, place, text in sorted(scored, key=lambda s: (-s[0][0], -s[0][1], len(s[2]), s[2], s[1])):
        if score[0] < _LEAST_SCORE or len(chosen) == most:
            break
        places[text] = places.get(text, 0) + 1
        if places[text] <= _MOST_PLACES:
            chosen.append(StoredValue(*index.places[place], text, round(score[0], 4)))
    return chosen


def _forms(words: Sequence[str], index: Index) -> dict[str, float]:
    """Indexed words that the question has, and how surely: 1 as they are, less in other forms or spellings."""
    joined = [a + b for a, b in itertools.pairwise(words)]
    forms = {word: 1.0 for word in (*words, *joined) if word not in _SILENT and index.frequency(word)}
    for first, second in itertools.pairwise(words):
        initials = first[0] + second[0]
        forms |= {short: 0.9 for short in (initials + "a", initials) if short not in words and index.frequency(short)}
    for word in dict.fromkeys(words):
        if word in _SILENT or len(word) < 4 or word.isdigit() or _is_name(word, index):
            continue
        least = 0.9 if word in forms else 0.0
        for other in index.spelled_like(word):
            likeness = _alike(word, other)
            if likeness > max(least, forms.get(other, 0.0)):
                forms[other] = likeness
    return forms


def _is_name(word: str, index: Index) -> bool:
    """Whether a word speaks of a table or column, so that no value is spelt like it by intention."""
    return any(word.startswith(name) or name.startswith(word) for name in index.schema_words if len(name) > 3)


@lru_cache(maxsize=1 << 17)
def _alike(one: str, other: str) -> float:
    """From 0 to 1: 0 unless both begin alike and share most letters, or one is an ending longer than the other."""
    if one[0] != other[0]:
        return 0.0
    short, long = sorted((one, other), key=len)
    if long.startswith(short) and len(long) - len(short) <= 3:
        return 0.95
    ratio = SequenceMatcher(None, one, other, autojunk=False).ratio()
    return ratio if ratio > 0.66 else 0.0


def _candidates(words: Sequence[str], asked: dict[str, float], index: Index) -> Iterator[tuple[int, int, str]]:
    """Values of exactly the words of a span of the question, and values with a word that is not too common."""
    for start in range(len(words)):
        for end in range(start + 1, min(start + 6, len(words)) + 1):
            if any(word in asked for word in words[start:end]):
                yield from index.with_words(words[start:end], _MOST_VALUES_A_WORD)
    for word in asked:
        if index.frequency(word) <= _MOST_VALUES_A_WORD:
            yield from index.with_word(word, _MOST_VALUES_A_WORD)


def _score(text: str, asked: dict[str, float], index: Index) -> tuple[float, float]:
    """The share of a value's words that the question has, rare words counting more, and how much that is."""
    total = found = 0.0
    for word in set(words_of(text)):
        weight = 0.1 if word in _SILENT else 1 + math.log((1 + index.count) / (1 + index.frequency(word)))
        total += weight
        found += weight * (asked.get(word, 0.0) if word not in _SILENT else 1.0)
    return (found / total if total else 0.0), found


_PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")


def tokens(text: str) -> int:
    """An estimate of the tokens of a text by Qwen's tokenizer, rather too many than too few, without loading it."""
    return sum(1 + (len(piece.encode()) - 1) // 5 for piece in _PIECE.findall(text))


def render(values: Sequence[StoredValue], budget: int) -> str:
    """Lines ``table.column = 'stored value'``, the likeliest first, within ``budget`` tokens."""
    lines = []
    for value in values:
        budget -= tokens(value.line) + 1
        if budget < 0:
            break
        lines.append(value.line)
    return "\n".join(lines)
