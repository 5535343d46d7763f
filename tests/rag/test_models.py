"""Models are used as they were trained: scores and vectors equal what the network gives when it is asked by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from text2sql.artifacts import write_json
from text2sql.errors import UserError
from text2sql.linking.scores import open_embedder
from text2sql.rag.models import SYSTEM, new_reranker, open_reranker, query_prompt, template

QUERIES = ["How many shops are there?", "Which shop sold most?", "卖得最多的商店是哪一家？"]
DOCUMENTS = ["SELECT count(*) FROM shop", "List the names of all shops in Lyon, from A to Z, and what each sold.", "no"]
PAIRS = [(query, document) for query in QUERIES for document in DOCUMENTS]


def form(query: str, document: str) -> str:
    """The form in the model card of Qwen3-Reranker."""
    return (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<Instruct>: find alike\n<Query>: {query}\n"
        f"<Document>: {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


@pytest.fixture(scope="module")
def by_hand(base: Path) -> list[float]:
    tokenizer, network = AutoTokenizer.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base).eval()
    yes, no = (tokenizer.encode(word)[0] for word in ("yes", "no"))
    found = []
    for pair in PAIRS:
        with torch.no_grad():
            last = network(**tokenizer(form(*pair), return_tensors="pt")).logits[0, -1]
        found.append(float(torch.softmax(last[[yes, no]], 0)[0]))
    return found


def test_a_causal_model_scores_yes_against_no_behind_its_form(base: Path, by_hand: list[float]) -> None:
    scores = open_reranker(str(base), "find alike", 1024).predict(PAIRS, batch_size=1)
    assert np.abs(scores - by_hand).max() < 1e-5
    assert np.ptp(by_hand) > 1e-3, "a constant would pass"


@pytest.mark.parametrize("batch", [2, 4, 9])
@pytest.mark.parametrize("side", ["left", "right"])
def test_batch_and_padding_do_not_change_a_score(
    base: Path, by_hand: list[float], batch: int, side: str, tmp_path: Path
) -> None:
    """Whatever side the tokenizer's own configuration names."""
    shutil.copytree(base, tmp_path / "base")
    settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    write_json(tmp_path / "base/tokenizer_config.json", {**settings, "padding_side": side})
    model = open_reranker(str(tmp_path / "base"), "find alike", 1024)
    assert np.abs(model.predict(PAIRS, batch_size=batch) - by_hand).max() < 1e-4


def test_a_saved_reranker_scores_the_same(base: Path, by_hand: list[float], tmp_path: Path) -> None:
    new_reranker(str(base), "find alike", 1024).save_pretrained(str(tmp_path), create_model_card=False)
    assert np.abs(open_reranker(str(tmp_path), "", 1024).predict(PAIRS) - by_hand).max() < 1e-5


def test_a_long_document_keeps_the_end_of_the_form(base: Path) -> None:
    model = open_reranker(str(base), "find alike", 256)
    ids = model.preprocess([("How many?", "word " * 5000)])["input_ids"][0]
    end = model.tokenizer.encode("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert len(ids) <= 256 and ids[-len(end) :].tolist() == end


def test_the_template_ends_with_a_blank_line_and_takes_another_system_text() -> None:
    assert template().endswith('</think>{{ "\\n\\n" }}')
    assert SYSTEM in template() and SYSTEM not in template("Same form?") and "Same form?" in template("Same form?")


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_an_embedding_is_the_last_tokens_vector_of_the_instructed_query(base: Path, embedder: Path, batch: int) -> None:
    tokenizer, network = AutoTokenizer.from_pretrained(base), AutoModel.from_pretrained(base).eval()
    texts = [query_prompt("find alike") + query for query in QUERIES]
    assert texts[0] == f"Instruct: find alike\nQuery:{QUERIES[0]}"
    vectors = open_embedder(str(embedder), None, batch)(texts)
    for text, vector in zip(texts, vectors, strict=True):
        with torch.no_grad():
            last = network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, -1]
        assert np.abs(vector - (last / last.norm()).numpy()).max() < 1e-5


def test_the_padding_side_does_not_change_a_vector(embedder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    texts = [query_prompt("find alike") + query for query in QUERIES]
    model = SentenceTransformer(str(embedder))
    left = model.encode(texts)
    model.tokenizer.padding_side = "right"
    assert np.abs(model.encode(texts) - left).max() < 1e-4


def test_what_is_no_reranker_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such reranker folder"):
        open_reranker(str(tmp_path), "", 128)
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}', encoding="utf-8")
    with pytest.raises(UserError, match="cannot be loaded as a reranker"):
        open_reranker(str(tmp_path), "", 128)
