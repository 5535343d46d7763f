"""Embeddings for schema linking: a sentence-transformers folder, or a model behind an OpenAI-compatible endpoint."""

import logging
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from text2sql.errors import UserError

Vectors = NDArray[np.float32]
_TEXTS_A_REQUEST = 32  # what small servers take at once
_RETRIES = 4


class Embedder(Protocol):
    """Texts to unit vectors, one row a text."""

    def __call__(self, texts: Sequence[str]) -> Vectors: ...


def open_embedder(model: str, base_url: str | None) -> Embedder:
    """The embedder of a model's name or folder; it is loaded, or the server called, at the first text.

    Raises:
        UserError: no such folder.
    """
    return _remote(model, base_url) if base_url else _local(model)


def _local(model: str) -> Embedder:
    if not Path(model).is_dir():
        raise UserError(
            f"{model}: no such embedding model folder; bash scripts/download_model.sh Qwen/Qwen3-Embedding-0.6B"
        )
    load = cache(_load)
    how: dict[str, Any] = {"normalize_embeddings": True, "show_progress_bar": False}
    return lambda texts: np.asarray(load(model).encode(list(texts), **how), dtype=np.float32)


def _load(model: str) -> Any:
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(model, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        raise UserError(f"{model}: cannot be loaded as an embedding model ({_line(error)})") from error


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
            raise UserError(f"{base_url}: no embeddings ({_line(error)})") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(f"{base_url}: its answer holds no embeddings ({_line(error)})") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise UserError(f"{base_url}: gave {len(vectors)} embeddings for {len(texts)} texts")
        return vectors

    def embed(texts: Sequence[str]) -> Vectors:
        starts = range(0, len(texts), _TEXTS_A_REQUEST)
        vectors = np.concatenate([ask(texts[start : start + _TEXTS_A_REQUEST]) for start in starts])
        unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return unit

    return embed


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
