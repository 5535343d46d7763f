"""The index is whole and holds each example once, whatever stops its making; what does not fit it is refused."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.solved import solved
from text2sql.errors import UserError
from text2sql.rag import RagOptions
from text2sql.rag.index import build
from text2sql.rag.models import new_embedder
from text2sql.rag.search import Retriever
from text2sql.rag.store import Store
from text2sql.records import Example, write_jsonl

SERVER = os.environ.get("TEXT2SQL_MILVUS_URI")


@pytest.fixture(params=["lite", "server"])
def stored(request: pytest.FixtureRequest, options: RagOptions) -> Iterator[RagOptions]:
    """Options of an index in Milvus Lite, and of one on a server where TEXT2SQL_MILVUS_URI names one."""
    if request.param == "lite":
        yield options
        return
    if not SERVER:
        pytest.skip("TEXT2SQL_MILVUS_URI names no Milvus server")
    remote = replace(options, uri=SERVER, collection=f"test_{os.getpid()}")
    yield remote
    with Store(remote) as store:
        store.drop()


def test_every_example_is_stored_once_and_a_second_run_leaves_it(stored: RagOptions) -> None:
    write_jsonl(stored.examples[0], [*solved(), *solved()])
    assert build(stored) == len(solved()) == build(stored)
    asked = [example.question for example in solved()]
    with Retriever(replace(stored, mode="dense", k=1, instruction="")) as retriever:
        assert [rows[0].question for rows in retriever.find(asked)] == asked


def test_a_row_that_is_longer_than_milvus_takes_is_left_out(
    options: RagOptions, caplog: pytest.LogCaptureFixture
) -> None:
    write_jsonl(options.examples[0], [*solved(), Example("long", "zoo", "é" * 40_000, "", "SELECT 1")])
    assert build(options) == len(solved())
    assert "long is longer than" in caplog.text


BUILD = """
import sys
from pathlib import Path
import text2sql.rag.index as index
from text2sql.rag import RagOptions
store = index.Store.upsert
def upsert(self, rows):
    store(self, rows)
    print("stored", flush=True)
index.Store.upsert, index._BLOCK = upsert, 4
index.build(RagOptions(uri=sys.argv[1], examples=[Path(sys.argv[2])], embedder=sys.argv[3], instruction="find alike"))
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_without_a_row_twice_or_missing(options: RagOptions) -> None:
    copies = [
        replace(e, question=f"{e.question} {n}", question_id=f"{e.question_id}-{n}")
        for n in range(10)
        for e in solved()
    ]
    write_jsonl(options.examples[0], copies)
    command = [sys.executable, "-c", BUILD, options.uri, str(options.examples[0]), options.embedder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for _ in range(10):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    with Store(options) as store:
        assert store.manifest() is not None
        part = store.count()
    assert 10 * 4 <= part < len(copies)
    with pytest.raises(UserError, match=f"{part} of {len(copies)} examples are indexed"):
        Retriever(options)
    assert build(options) == len(copies)


def test_an_index_of_another_model_is_refused(stored: RagOptions, base: Path, tmp_path: Path) -> None:
    build(stored)
    wide = tmp_path / "other"
    new_embedder(str(base), "", 64, layers=1).save_pretrained(str(wide), create_model_card=False)
    other = replace(stored, embedder=str(wide))
    for call in (build, Retriever):
        with pytest.raises(UserError, match="was made with model '"):
            call(other)
    with pytest.raises(UserError, match="was made with embed 'question', not 'skeleton'"):
        Retriever(replace(stored, embed="skeleton"))
    write_jsonl(stored.examples[0], solved()[:4])
    with pytest.raises(UserError, match="overwrite=true makes it anew"):
        build(stored)
    assert build(replace(stored, overwrite=True)) == 4


def test_vectors_of_another_width_are_refused(options: RagOptions) -> None:
    build(options)
    with Retriever(options) as retriever:
        retriever.embed = lambda texts: np.ones((len(texts), 3), dtype="float32")
        with pytest.raises(UserError, match="vectors have 3 numbers, the index has 64"):
            retriever.find(["How many?"])


def test_no_index_and_no_examples_are_one_line(options: RagOptions, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such index; bash scripts/build_rag_index\.sh"):
        Retriever(options)
    with pytest.raises(UserError, match="no such file; prepare the data first"):
        build(replace(options, examples=[tmp_path / "none.jsonl"]))
    with pytest.raises(UserError, match="say which prepared examples"):
        build(replace(options, examples=[]))
    build(options)
    with pytest.raises(UserError, match="no index called other"):
        Retriever(replace(options, collection="other"))


def test_a_second_process_on_milvus_lite_is_refused(options: RagOptions) -> None:
    build(options)
    read = f"from text2sql.rag.store import Store; from text2sql.rag import RagOptions; Store(RagOptions(uri={options.uri!r}))"
    with Store(options):
        done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=False)
    assert "another process has it open" in done.stderr.splitlines()[-1]
    with Store(options) as store:
        assert store.manifest() is not None
        assert store.count() == len(solved())


def test_an_unreachable_server_is_asked_a_few_times(options: RagOptions) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=r"127.0.0.1:1: no Milvus server answers there \(2 tries of 0.5 s\)"):
        Store(replace(options, uri="http://127.0.0.1:1", retries=1, timeout=0.5))
    assert time.monotonic() - started < 10
