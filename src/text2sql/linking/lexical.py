"""Lexical scores: how well names and values match a question's words, by stems, so "singers" finds ``singer_id``."""

import re
import sqlite3
from contextlib import closing
from functools import lru_cache
from pathlib import Path

from text2sql.errors import UserError
from text2sql.schema import Schema, open_readonly, quote, read_schema

_PARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+")
_WORD = re.compile(r"[^\W_]+")
_ENDINGS = ("ies", "es", "s", "ing", "ed", "er", "al", "y", "e")
_VALUES = 3000
_WEAK = frozenset("id name code number no the of a an in on at is and or to for by with".split())


def stem(word: str) -> str:
    """The word without one of a few endings, when at least three letters are left."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


@lru_cache(maxsize=65536)
def name_stems(identifier: str) -> tuple[str, ...]:
    """``HomeTown_ID`` as stems of home, town and id."""
    return tuple(stem(part.lower()) for part in _PARTS.split(identifier) if part)


def question_stems(question: str) -> frozenset[str]:
    """Stems of the question's words."""
    return frozenset(stem(word) for word in _WORD.findall(question.casefold()))


def name_score(identifier: str, stems: frozenset[str]) -> float:
    """The share of the identifier's words in the question (0 to 1); words that say little, such as id, count a third."""
    total = found = 0.0
    for part in name_stems(identifier):
        weight = 0.34 if part in _WEAK else 1.0
        total += weight
        found += weight * max((_alike(part, word) for word in stems), default=0.0)
    return found / total if total else 0.0


@lru_cache(maxsize=1 << 18)
def _alike(one: str, other: str) -> float:
    """1 for equal stems, less for those of which one begins the other (``pop`` and ``population``)."""
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    return 0.7 if len(short) >= 3 and long.startswith(short) else 0.0


@lru_cache(maxsize=64)
def column_values(path: Path) -> dict[str, frozenset[tuple[str, str]]]:
    """Text values in lower case -> the columns (table, column) that hold them; the first rows of each table."""
    found: dict[str, set[tuple[str, str]]] = {}
    try:
        with closing(open_readonly(path)) as connection:
            for table in read_schema(connection).tables:
                for column in table.columns:
                    name = quote(column.name)
                    rows = connection.execute(
                        f"SELECT DISTINCT {name} FROM (SELECT {name} FROM {quote(table.name)} LIMIT {_VALUES}) "
                        f"WHERE typeof({name}) = 'text' AND length({name}) BETWEEN 2 AND 60"
                    )
                    for (value,) in rows:
                        found.setdefault(value.strip().casefold(), set()).add((table.name, column.name))
    except (UserError, sqlite3.DatabaseError):
        return {}
    return {value: frozenset(columns) for value, columns in found.items()}


def value_matches(question: str, path: Path | None) -> frozenset[tuple[str, str]]:
    """The columns that hold a value which the question names (up to six words long)."""
    if path is None:
        return frozenset()
    values = column_values(path)
    words = re.sub("['\"?,]", " ", question.casefold()).split()
    found: set[tuple[str, str]] = set()
    for start in range(len(words)):
        for end in range(start + 1, min(start + 6, len(words)) + 1):
            text = " ".join(words[start:end]).rstrip(".")
            if text not in _WEAK:
                found |= values.get(text, frozenset())
    return frozenset(found)


def lexical_scores(question: str, schema: Schema, path: Path | None) -> dict[tuple[str, str], float]:
    """A score for each (table, column), and for each table under (table, "")."""
    stems, valued = question_stems(question), value_matches(question, path)
    scores: dict[tuple[str, str], float] = {}
    for table in schema.tables:
        own = name_score(table.name, stems)
        scores[table.name, ""] = own
        for column in table.columns:
            score = name_score(column.name, stems) + 0.8 * ((table.name, column.name) in valued)
            scores[table.name, column.name] = score + 0.1 * own
    return scores
