"""Scores for schema linking: by words, whose stems let "singers" find ``singer_id``, and by embeddings of a local model
(a sentence-transformers folder) or of one behind an OpenAI-compatible endpoint."""

import logging
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    stems = frozenset(stem(word) for word in _WORD.findall(question.casefold()))
    valued = value_matches(question, path)
    scores: dict[tuple[str, str], float] = {}
    for table in schema.tables:
        own = name_score(table.name, stems)
        scores[table.name, ""] = own
        for column in table.columns:
            pair = (table.name, column.name)
            scores[pair] = name_score(column.name, stems) + 0.8 * (pair in valued) + 0.1 * own
    return scores


Vectors = NDArray[np.float32]
Embedder = Callable[[Sequence[str]], Vectors]  # unit vectors, one row a text
_TEXTS_A_REQUEST = 32  # what small servers take at once
_RETRIES = 4


def open_embedder(model: str, base_url: str | None, batch_size: int = 32) -> Embedder:
    """The embedder of a model's name or folder; it is loaded, or the server called, at the first text.

    ``batch_size``: texts that a loaded model takes at once.

    Raises:
        UserError: no such folder.
    """
    if base_url:
        return _remote(model, base_url)
    if not Path(model).is_dir():
        raise UserError(
            f"{model}: no such embedding model folder; bash scripts/download_model.sh Qwen/Qwen3-Embedding-0.6B"
        )
    load = cache(_load)
    how: dict[str, Any] = {"normalize_embeddings": True, "show_progress_bar": False, "batch_size": batch_size}
    return lambda texts: np.asarray(load(model).encode(list(texts), **how), dtype=np.float32)


def _load(model: str) -> Any:
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(model, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        raise UserError(f"{model}: cannot be loaded as an embedding model ({one_line(error)})") from error


def _remote(model: str, base_url: str) -> Embedder:
    from openai import OpenAI, OpenAIError

    for library in ("httpx", "httpx2"):  # a line for each request hides the progress
        logging.getLogger(library).setLevel(logging.WARNING)
    client = OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"), max_retries=_RETRIES)

    def ask(texts: Sequence[str]) -> Vectors:
        try:
            reply = client.embeddings.create(model=model, input=list(texts), encoding_format="float")
            items = sorted(reply.data, key=lambda item: item.index)
            vectors = np.array([item.embedding for item in items], dtype=np.float32)
        except OpenAIError as error:
            raise UserError(f"{base_url}: no embeddings ({one_line(error)})") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(f"{base_url}: its answer holds no embeddings ({one_line(error)})") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise UserError(f"{base_url}: gave {len(vectors)} embeddings for {len(texts)} texts")
        return vectors

    def embed(texts: Sequence[str]) -> Vectors:
        starts = range(0, len(texts), _TEXTS_A_REQUEST)
        vectors = np.concatenate([ask(texts[start : start + _TEXTS_A_REQUEST]) for start in starts])
        unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return unit

    return embed


def one_line(error: Exception) -> str:
    """What an error says, short and in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
