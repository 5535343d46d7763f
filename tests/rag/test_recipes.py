"""Retrieval recipes: every key is accepted, and mistakes end in one line."""

from pathlib import Path

import pytest

from support.recipes import ROOT, load
from text2sql.errors import UserError
from text2sql.rag import RagOptions
from text2sql.rag.search import rag_options
from text2sql.rag.training import TrainingOptions
from text2sql.recipe import load_recipe, options_from

RAG = [ROOT / f"recipes/{profile}/rag.yaml" for profile in ("qwen3_1p7b", "tiny")]
TRAINING = sorted(ROOT.glob("recipes/tiny/rag_*.yaml"))


@pytest.mark.parametrize("path", RAG, ids=lambda p: p.parent.name)
def test_every_key_of_a_retrieval_recipe_takes_effect(path: Path) -> None:
    options = rag_options(path)
    for key, value in load(path).items():
        found = getattr(options, key)
        assert found == value or [str(v) for v in found] == value, key


def test_twins_have_the_same_keys() -> None:
    large, tiny = map(load, RAG)
    assert large.keys() == tiny.keys()
    for key in ("mode", "embed", "index_type", "lexical", "k", "same_form", "exclude_database", "near", "rerank_by"):
        assert large[key] == tiny[key], key


@pytest.mark.parametrize("path", TRAINING, ids=lambda p: p.stem)
def test_every_key_of_a_training_recipe_takes_effect(path: Path) -> None:
    options = options_from(TrainingOptions, load_recipe(path, []), str(path))
    for key, value in load(path).items():
        found = getattr(options, key)
        assert found == value or str(found) == value or [str(v) for v in found] == value, key


def test_the_tiny_recipes_fit_together() -> None:
    rag, embedder = load(RAG[1]), load(ROOT / "recipes/tiny/rag_embedder.yaml")
    reranker, data = load(ROOT / "recipes/tiny/rag_reranker.yaml"), load(ROOT / "recipes/data/toy_rag.yaml")
    assert rag["embedder"] == embedder["output_dir"] == reranker["embedder"]
    assert rag["instruction"] == embedder["instruction"] == reranker["instruction"]
    assert rag["examples"] == embedder["examples"] == reranker["examples"]
    assert data["references"] == "recipes/tiny/rag.yaml"
    toy = load(ROOT / "recipes/data/toy.yaml")
    assert data["questions"] == toy["questions"] and data["seed"] == toy["seed"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"uri": "somewhere"}, "a path that ends in .db"),
        ({"uri": "a.db", "mode": "lexical", "lexical": False}, "mode: lexical needs lexical: true"),
        ({"uri": "a.db", "k": 30}, "k is at most max_k"),
        ({"uri": "a.db", "collection": 'x"; drop'}, "collection"),
        ({"uri": "a.db", "embed": "answer"}, "embed is one of question, masked or skeleton"),
        ({"uri": "a.db", "rerankr": "x"}, "did you mean 'reranker'"),
    ],
)
def test_mistakes_in_a_recipe_are_one_line(keys: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        options_from(RagOptions, keys, "rag.yaml")
    assert message in str(caught.value) and "\n" not in str(caught.value)
