"""Whether retrieval finds examples of the right form: Spider's dev questions, an index over its training questions.

    python benchmarks/rag.py [--ledger] [--limit 1034] [key=value ...]

For each dev question (TEXT2SQL_SHARED or ``--shared`` holds spider/), an example is right when its query has the form of the
gold query (:mod:`text2sql.sql.skeleton`). ``recall_WAY`` is the share of questions with a right one among the first four,
``mrr_WAY`` the mean of 1 / rank of the first right one among ``max_k``. Ways: random, lexical (BM25), dense, hybrid, and
hybrid reordered by a reranker that reads questions, or SQL. Keys are those of recipes/tiny/rag.yaml. Also the seconds of each
step for all questions; figs/rag_recall.png shows the shares.

Before: bash scripts/prepare_data.sh recipes/data/spider_plain.yaml, and rag_models_train.sh with the examples of that.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from frame import ToLedger, record, run, say, show

from text2sql.artifacts import digest
from text2sql.rag.index import build
from text2sql.rag.search import Found, Retriever, rag_options
from text2sql.records import Example, read_jsonl
from text2sql.report.figure import Chart, Series, draw
from text2sql.sql.skeleton import skeleton

DATA = Path("data/prepared/spider_plain/examples")
KEYS = {
    "examples": f"[{DATA}/train.jsonl]",
    "uri": "outputs/tiny/rag/spider.db",
    "embedder": "outputs/tiny/rag_embedder_spider",
    "reranker": "outputs/tiny/rag_reranker_spider",
    "same_form": "null",
}
FIGURE = Path("figs/rag_recall.png")


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="Keys of recipes/tiny/rag.yaml.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many questions, evenly spread.")] = None,
    ledger: ToLedger = False,
) -> None:
    """Measure, print, draw, and append the row."""
    started = time.monotonic()
    options = rag_options(Path("recipes/tiny/rag.yaml"), [f"{k}={v}" for k, v in KEYS.items()] + (overrides or []))
    every = list(read_jsonl(DATA / "dev.jsonl", Example))
    asked = every if limit is None else [every[i * len(every) // limit] for i in range(limit)]
    build(options)
    train = list({(e.question, e.sql): e for path in options.examples for e in read_jsonl(path, Example)}.values())
    draws = random.Random(0)
    ways: dict[str, list[list[Any]]] = {"random": [draws.sample(train, options.max_k) for _ in asked]}
    seconds: dict[str, float] = {}
    questions, names = [e.question for e in asked], [e.db_id for e in asked]
    for mode in ("lexical", "dense", "hybrid"):
        with Retriever(replace(options, mode=mode)) as retriever:
            if mode == "hybrid":
                clock = time.monotonic()
                retriever.vectors(questions)
                seconds["embed"] = time.monotonic() - clock
            clock = time.monotonic()
            ways[mode] = list(retriever.candidates(questions, names))
            seconds[mode] = time.monotonic() - clock
            if mode == "hybrid" and options.reranker:
                for by in ("question", "sql"):
                    clock = time.monotonic()
                    retriever.options = replace(options, rerank_by=by)
                    ways[f"reranked_{by}"] = list(retriever.reranked(questions, ways[mode]))
                    seconds[f"rerank_{by}"] = time.monotonic() - clock
    seconds["search"] = max(0.0, seconds.pop("hybrid") - seconds["embed"])
    right = {way: [_ranks(e, rows) for e, rows in zip(asked, found, strict=True)] for way, found in ways.items()}
    recall = {way: sum(0 < rank <= 4 for rank in ranks) / len(asked) for way, ranks in right.items()}
    mrr = {way: sum(1 / rank if rank else 0.0 for rank in ranks) / len(asked) for way, ranks in right.items()}
    known = {skeleton(e.sql) for e in train}
    reachable = sum(skeleton(e.sql) in known for e in asked) / len(asked)
    show(
        f"Spider dev over {len(train):,} training questions, n = {len(asked)}; {reachable:.1%} have a right example",
        ("recall@4", f"MRR@{options.max_k}"),
        [[way, f"{recall[way]:.1%}", f"{mrr[way]:.3f}"] for way in ways],
    )
    say(", ".join(f"{step} {value:.1f} s" for step, value in seconds.items()))
    _plot(recall, len(asked))
    if ledger:
        metrics = {f"recall_{way}": value for way, value in recall.items()} | {f"mrr_{w}": v for w, v in mrr.items()}
        metrics |= {f"seconds_{step}": value for step, value in seconds.items()}
        metrics |= {"reachable": reachable, "indexed": len(train), "max_k": options.max_k}
        figures, made = {k: round(v, 4) for k, v in metrics.items()}, digest(DATA / "dev.jsonl")
        record("spider.rag", figures, split="dev", n=len(asked), data_hash=made, seconds=time.monotonic() - started)


def _ranks(example: Example, rows: Sequence[Example | Found]) -> int:
    """The place of the first row of the right form, from 1; 0 where there is none."""
    form = skeleton(example.sql)
    return next((place for place, row in enumerate(rows, 1) if skeleton(row.sql) == form), 0)


def _plot(recall: dict[str, float], n: int) -> None:
    caption = f"Spider dev, n = {n}, index over its training questions; tiny embedder and reranker. Source: results/ledger.jsonl"
    bars = Series("recall@4", tuple(recall.values()), (0.0,) * len(recall), (0.0,) * len(recall))
    groups = tuple(way.replace("_", "\nby ") for way in recall)
    chart = Chart("Questions with an example of the gold query's form among the first four", caption, groups, (bars,))
    draw(chart, FIGURE, "questions (%)")


if __name__ == "__main__":
    run(main, __doc__)
