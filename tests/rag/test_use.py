"""References in training data and in inference: the same rows, the same bytes, by one recipe."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.solved import solved
from support.tiny_model import SCHEMA
from text2sql import infer as module
from text2sql.data.prepare import prepare
from text2sql.generate import Completion
from text2sql.infer import InferOptions, infer, provenance
from text2sql.prompts import ask
from text2sql.rag import RagOptions
from text2sql.rag.index import build
from text2sql.rag.search import Retriever, rag_options
from text2sql.records import Example, read_jsonl, write_jsonl


@pytest.fixture
def recipe(options: RagOptions, tmp_path: Path) -> Path:
    """A retrieval recipe whose index is there."""
    build(options)
    keys = {field.name: getattr(options, field.name) for field in fields(options)}
    path = tmp_path / "rag.yaml"
    path.write_text(yaml.safe_dump({**keys, "examples": [str(options.examples[0])], "k": 2}), encoding="utf-8")
    return path


def test_training_and_inference_show_the_same_bytes(
    recipe: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"question": e.question, "sql": e.sql, "db_id": e.db_id, "schema": SCHEMA} for e in solved()[:6]]
    rows = [{**row, "sql": "SELECT count(*) FROM shop"} for row in rows]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    values: dict[str, Any] = {"source": "rows", "name": "mine", "output": str(tmp_path / "out"), "jobs": 2}
    values |= {"files": {"train": [str(tmp_path / "rows.jsonl")]}, "references": str(recipe), "seed": 1}
    first = prepare(values, "r")
    examples = list(read_jsonl(tmp_path / "out/examples/train.jsonl", Example))
    assert all(len(e.references) == 2 for e in examples)
    assert not any(
        r.question in {s.question for s in solved() if s.db_id == e.db_id} for e in examples for r in e.references
    )
    taught = [json.loads(line)["messages"][:2] for line in (tmp_path / "out/sft_train.jsonl").open(encoding="utf-8")]
    assert sorted(map(str, taught)) == sorted(str(ask(e)) for e in examples)

    bare = [Example(e.question_id, e.db_id, e.question, e.schema, e.sql) for e in examples]
    write_jsonl(tmp_path / "asked.jsonl", bare)
    asked: list[Any] = []
    monkeypatch.setattr(module, "open_engine", lambda settings: Recorder(asked))
    files = {"examples": tmp_path / "asked.jsonl", "output": tmp_path / "p.jsonl"}
    how = InferOptions(model_name_or_path=str(base), engine="transformers", references=recipe, **files)
    infer(how)
    assert sorted(map(str, asked)) == sorted(map(str, taught))
    with Retriever(rag_options(recipe)) as retriever:
        note = provenance(InferOptions(model_name_or_path=str(base), engine="transformers", **files))
        assert "references" not in note
        found = retriever.provenance
    assert provenance(how) == note | {"references": found}

    assert prepare(values, "r")["data_hash"] == first["data_hash"]
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("k: 2", "k: 1"), encoding="utf-8")
    assert prepare(values, "r")["data_hash"] != first["data_hash"], "another search gives other data"


class Recorder:
    """An engine that keeps what it is asked."""

    name = "recorder"

    def __init__(self, asked: list[Any]) -> None:
        self.asked = asked

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def generate(self, requests: Any, decoding: Any) -> Iterator[Completion]:
        for request in requests:
            self.asked.append(request.messages)
            yield Completion(request.key, 0, "SELECT 1", "stop", 1, 1)
