"""Builds the index: embeds prepared examples in blocks and stores each block under keys that follow from its rows.

A run that was killed therefore goes on where it stopped, without a row twice or missing. While one block is embedded, the one
before is stored.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from text2sql.artifacts import digest, digest_of
from text2sql.checkpoint.model import fingerprint
from text2sql.errors import UserError
from text2sql.linking.scores import Embedder, open_embedder
from text2sql.rag import Embedded, RagOptions
from text2sql.rag.store import MOST_BYTES, Store
from text2sql.records import Example, read_jsonl
from text2sql.sql.skeleton import skeleton

logger = logging.getLogger("text2sql.rag")
_BLOCK = 1024  # rows embedded at once (the model sorts them by length), and stored in one call
_VALUE = re.compile(r"""(?<!\w)'[^']*'(?!\w)|"[^"]*"|“[^”]*”|\d+(?:[.,]\d+)*""")


def build(options: RagOptions) -> int:
    """Index the examples; returns how many rows the index has. A whole index of the same examples is left as it is.

    Raises:
        UserError: no examples, an index of another model or other examples (without ``overwrite``), or no server.
    """
    if not options.examples:
        raise UserError("examples: say which prepared examples to index")
    with Store(options, create=True) as store:
        embed = open_embedder(options.embedder, options.base_url, options.batch_size)
        dimension = embed(["how many?"]).shape[1]
        rows = {key for key, _ in _rows(options.examples)}
        wanted = made_of(options, dimension) | {"data": digest(*options.examples), "rows": len(rows)}
        found = store.manifest()
        if options.overwrite or found is None:
            store.create(wanted, dimension)
        elif found != wanted:
            raise UserError(_other(options, found, wanted))
        missing = len(rows) - store.count()
        if missing:
            logger.info("%s: %d of %d examples to index", options.uri, missing, len(rows))
            _store(options, store, embed, len(rows))
        count = store.count()
    logger.info("%s: %d examples in collection %s", options.uri, count, options.collection)
    return count


def made_of(options: RagOptions, dimension: int) -> dict[str, Any]:
    """What vectors in the index depend on; a search must agree with it."""
    local = Path(options.embedder)
    model = options.embedder if options.base_url else fingerprint(local) if local.is_dir() else "missing"
    return {
        "model": model,
        "name": local.name,
        "dimension": dimension,
        "metric": "COSINE",
        "embed": options.embed,
        "index_type": options.index_type,
        "lexical": options.lexical,
    }


def _other(options: RagOptions, found: dict[str, Any], wanted: dict[str, Any]) -> str:
    differ = [f"{key} {found.get(key)!r}, not {wanted[key]!r}" for key in wanted if found.get(key) != wanted[key]]
    return f"{options.uri}: {options.collection} was made with {'; '.join(differ)}; overwrite=true makes it anew"


def _rows(paths: Iterable[Path]) -> Iterator[tuple[str, Example]]:
    """Keys and examples; of equal rows each has the same key."""
    for path in paths:
        for example in read_jsonl(path, Example):
            texts = (example.question, example.sql, example.db_id, example.source)
            if any(len(text.encode("utf-8", "replace")) > MOST_BYTES for text in texts):
                logger.warning("%s: %s is longer than %d bytes and left out", path, example.question_id, MOST_BYTES)
            else:
                yield digest_of(texts), example


def _store(options: RagOptions, store: Store, embed: Embedder, total: int) -> None:
    """Embed and store the rows that are not there yet."""
    seen: set[str] = set()
    columns = (TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    stored: Future[None] | None = None
    with Progress(*columns) as progress, ThreadPoolExecutor(1) as storing:
        task = progress.add_task("indexing", total=total)
        rows_left = _rows(options.examples)
        while batch := list(islice(rows_left, _BLOCK)):
            new = {key: example for key, example in batch if key not in seen}
            seen |= new.keys()
            there = storing.submit(store.known, list(new)).result()
            rest = {key: example for key, example in new.items() if key not in there}
            if rest:
                vectors = embed([text_of(example, options.embed) for example in rest.values()])
                if stored is not None:
                    stored.result()
                rows = [
                    {
                        "id": key,
                        "vector": vector,
                        "question": e.question,
                        "sql": e.sql,
                        "db_id": e.db_id,
                        "source": e.source,
                    }
                    for (key, e), vector in zip(rest.items(), vectors, strict=True)
                ]
                stored = storing.submit(store.upsert, rows)
            progress.update(task, advance=len(new))
        if stored is not None:
            stored.result()


def text_of(example: Example, embed: Embedded) -> str:
    """The text whose vector stands for an example."""
    return skeleton(example.sql) if embed == "skeleton" else asked(example.question, embed)


def asked(question: str, embed: Embedded) -> str:
    """A question as it is embedded: with ``masked``, ``_`` stands for quoted texts and numbers."""
    return _VALUE.sub("_", question) if embed == "masked" else question
