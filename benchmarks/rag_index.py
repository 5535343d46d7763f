"""What the index costs: making it beside bare encoding, and searching 100,000 vectors beside a product with all of them.

    python benchmarks/rag_index.py build [--ledger] [key=value ...]
    python benchmarks/rag_index.py search [--ledger] [--count 100000] [--width 384]

``build`` embeds and stores the examples of recipes/tiny/rag.yaml, and encodes the same texts alone in the same run; the row
bench.rag_index has the ratio of both times. ``search`` fills Milvus Lite with clustered vectors under each index type and asks
200 questions one by one and in one batch; recall@10 is against NumPy's product with all vectors. The row bench.rag_search is of
the fastest type with a recall of 0.98 or more; its ``ratio`` is what a single question costs beside one of a batch.
"""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from frame import ROOT, ToLedger, record, say, show
from numpy.typing import NDArray

from text2sql.artifacts import digest, digest_of
from text2sql.errors import run_command
from text2sql.linking.scores import open_embedder
from text2sql.rag import RagOptions
from text2sql.rag.index import build as build_index
from text2sql.rag.search import rag_options
from text2sql.rag.store import Store
from text2sql.recipe.command import group
from text2sql.records import Example, read_jsonl

app = group(__doc__)
ASKED, NEAREST, ENOUGH = 200, 10, 0.98
Vectors = NDArray[np.float32]


@app.command()
def build(
    overrides: Annotated[list[str] | None, typer.Argument(help="Keys of recipes/tiny/rag.yaml.")] = None,
    ledger: ToLedger = False,
) -> None:
    """Time the making of an index, and bare encoding of the same texts."""
    options = rag_options(Path("recipes/tiny/rag.yaml"), overrides or [])
    texts = [e.question for path in options.examples for e in read_jsonl(path, Example)]
    embed = open_embedder(options.embedder, options.base_url, options.batch_size)
    embed(texts[:64])  # loads the model
    started = time.monotonic()
    embed(texts)
    bare = time.monotonic() - started
    with tempfile.TemporaryDirectory() as folder:
        clock = time.monotonic()
        build_index(replace(options, uri=f"{folder}/index.db"))
        whole = time.monotonic() - clock
    say(f"{len(texts):,} texts: encoded in {bare:.1f} s, indexed in {whole:.1f} s, {whole / bare:.2f} times as long")
    if ledger:
        figures = {"ratio": round(whole / bare, 3), "encode_seconds": round(bare, 2), "build_seconds": round(whole, 2)}
        made = digest(*options.examples)
        record("bench.rag_index", figures, split="train", n=len(texts), data_hash=made, seconds=whole + bare)


@app.command()
def search(
    count: Annotated[int, typer.Option(help="Vectors.")] = 100_000,
    width: Annotated[int, typer.Option(help="Numbers of each.")] = 384,
    ledger: ToLedger = False,
) -> None:
    """Time searches of Milvus Lite beside NumPy."""
    started = time.monotonic()
    vectors, asked = _vectors(count, width)
    numpy_ms = []
    truth = []
    for vector in asked:
        clock = time.monotonic()
        scores = vectors @ vector
        truth.append(set(np.argpartition(-scores, NEAREST)[:NEAREST].tolist()))
        numpy_ms.append(1000 * (time.monotonic() - clock))
    found = {kind: _measured(kind, vectors, asked, truth) for kind in ("FLAT", "IVF_FLAT", "HNSW")}
    heads = ("recall@10", "p50 ms", "p95 ms", "batched ms", "insert s")
    rows = [
        [kind, *(f"{m[k]:.4g}" for k in ("recall", "p50_ms", "p95_ms", "batched_ms", "insert_seconds"))]
        for kind, m in found.items()
    ]
    quantiles = [float(np.percentile(numpy_ms, q)) for q in (50, 95)]
    rows.append(["NumPy", "1", *(f"{q:.4g}" for q in quantiles), "", ""])
    show(f"{count:,} vectors of {width}", heads, rows)
    good = {kind: m for kind, m in found.items() if m["recall"] >= ENOUGH}
    best = min(good, key=lambda kind: good[kind]["p50_ms"])
    say(f"chosen: {best}")
    if ledger:
        figures = good[best] | {"numpy_p50_ms": quantiles[0], "numpy_p95_ms": quantiles[1], "width": float(width)}
        figures |= {f"{kind.lower()}_recall": m["recall"] for kind, m in found.items()}
        figures |= {f"{kind.lower()}_p50_ms": m["p50_ms"] for kind, m in found.items()}
        figures["ratio"] = good[best]["p50_ms"] / good[best]["batched_ms"]
        rounded = {name: round(value, 4) for name, value in figures.items()}
        seconds, words = time.monotonic() - started, f"{best} in Milvus Lite"
        made = digest_of([count, width])
        record("bench.rag_search", rounded, split=words, n=count, data_hash=made, seconds=seconds)


def _vectors(count: int, width: int) -> tuple[Vectors, Vectors]:
    """Unit vectors in clusters, as those of texts are, and such to ask with."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(500, width))
    found = centres[draw.integers(500, size=count + ASKED)] + draw.normal(size=(count + ASKED, width))
    unit = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit[:count], unit[count:]


def _measured(kind: str, vectors: Vectors, asked: Vectors, truth: list[set[int]]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        options = RagOptions(uri=f"{folder}/i.db", index_type=kind, lexical=False, mode="dense", k=1, timeout=600.0)
        with Store(options, create=True) as store:
            store.create({}, vectors.shape[1])
            clock = time.monotonic()
            for start in range(0, len(vectors), 1000):
                rows = [
                    {
                        "id": f"{start + i}",
                        "vector": v,
                        "question": "q",
                        "sql": str(start + i),
                        "db_id": "",
                        "source": "",
                    }
                    for i, v in enumerate(vectors[start : start + 1000])
                ]
                store.upsert(rows)
            insert = time.monotonic() - clock
            store.search(asked[:2], ["", ""], NEAREST)  # builds what is built lazily
            single, hits = [], []
            for vector in asked:
                clock = time.monotonic()
                hits.append(store.search(vector[None], [""], NEAREST)[0])
                single.append(1000 * (time.monotonic() - clock))
            clock = time.monotonic()
            store.search(asked, [""] * len(asked), NEAREST)
            batched = 1000 * (time.monotonic() - clock) / len(asked)
    shares = [len(real & {int(row["sql"]) for row in rows}) / NEAREST for real, rows in zip(truth, hits, strict=True)]
    return {
        "recall": float(np.mean(shares)),
        "p50_ms": float(np.percentile(single, 50)),
        "p95_ms": float(np.percentile(single, 95)),
        "batched_ms": batched,
        "insert_seconds": insert,
    }


if __name__ == "__main__":
    os.chdir(ROOT)
    run_command(app)
