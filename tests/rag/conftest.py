"""A small random embedder and reranker, and solved examples of two databases."""

from pathlib import Path

import pytest

from support.solved import solved
from support.tiny_model import make_model
from text2sql.rag import RagOptions
from text2sql.rag.models import new_embedder
from text2sql.records import write_jsonl


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("rag") / "base", layers=2, hidden=64)


@pytest.fixture(scope="session")
def embedder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rag") / "embedder"
    new_embedder(str(base), "find alike", 128).save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.fixture
def options(embedder: Path, tmp_path: Path) -> RagOptions:
    write_jsonl(tmp_path / "train.jsonl", solved())
    return RagOptions(
        uri=str(tmp_path / "index.db"),
        examples=[tmp_path / "train.jsonl"],
        embedder=str(embedder),
        instruction="find alike",
        near=None,
    )
