"""Embeddings for schema linking: a sentence-transformers folder, or a model behind an OpenAI-compatible endpoint."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from text2sql.errors import UserError

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Texts to unit vectors, one row a text."""

    def __call__(self, texts: Sequence[str]) -> Vectors: ...


def open_embedder(model: str, base_url: str | None) -> Embedder:
    """The embedder of a model's name or folder.

    Raises:
        UserError: no such folder, or no server answers.
    """
    return _remote(model, base_url) if base_url else _local(model)


def _local(model: str) -> Embedder:
    from pathlib import Path

    if not Path(model).is_dir():
        raise UserError(
            f"{model}: no such embedding model folder; bash scripts/download_model.sh Qwen/Qwen3-Embedding-0.6B"
        )
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(model)

    def embed(texts: Sequence[str]) -> Vectors:
        vectors = loaded.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    return embed


def _remote(model: str, base_url: str) -> Embedder:
    import os

    from openai import OpenAI, OpenAIError

    client = OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"), max_retries=4)

    def embed(texts: Sequence[str]) -> Vectors:
        try:
            reply = client.embeddings.create(model=model, input=list(texts), encoding_format="float")
        except OpenAIError as error:
            raise UserError(f"{base_url}: no embeddings ({' '.join(str(error).split())[:200]})") from error
        vectors = np.array([item.embedding for item in reply.data], dtype=np.float32)
        unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return unit

    return embed
