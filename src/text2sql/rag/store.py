"""Milvus, behind what the index needs of it; the same calls serve Milvus Lite in a folder, a server and a cluster.

What the index was made of stands in a collection of its own beside it, because Milvus Lite does not keep descriptions. Filters
compare digests of names, so that no name can change an expression.
"""

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from text2sql.artifacts import digest_of
from text2sql.errors import UserError
from text2sql.linking.scores import one_line
from text2sql.rag import RagOptions

MOST_BYTES = 65_535  # of a text field
_SHOWN = ["question", "sql", "db_id", "source"]
_QUERIES_A_CALL = 256
_FUSION = 60  # of reciprocal rank fusion (Cormack et al. 2009)

for _name in ("pymilvus", "milvus_lite", "grpc._server", "faiss"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # it prints a traceback for what becomes one line here


class Store:
    """An open collection. Use it as a context manager, for another process can open Milvus Lite only when it is closed.

    Raises:
        UserError: no such index, one that another process has open, or a server that does not answer.
    """

    def __init__(self, options: RagOptions, create: bool = False) -> None:
        self.options, self.name = options, options.collection
        self.is_lite = "://" not in options.uri
        if self.is_lite and not create and not Path(options.uri).exists():
            raise UserError(f"{options.uri}: no such index; bash scripts/build_rag_index.sh RECIPE makes it")
        self.client = self._connect()

    def _connect(self) -> Any:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its connections to Milvus Lite complain of pings
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException

        if self.is_lite:
            Path(self.options.uri).parent.mkdir(parents=True, exist_ok=True)
        token = {"token": os.environ["MILVUS_TOKEN"]} if os.environ.get("MILVUS_TOKEN") else {}
        for attempt in range(self.options.retries + 1):
            try:
                return MilvusClient(self.options.uri, timeout=self.options.timeout, **token)
            except MilvusException as error:
                if self.is_lite:
                    why = "another process has it open (Milvus Lite serves one; use a server's uri for several)"
                    raise UserError(f"{self.options.uri}: {why}, or it is no Milvus Lite folder") from error
                if attempt == self.options.retries:
                    tried = f"{attempt + 1} tries of {self.options.timeout:g} s"
                    raise UserError(f"{self.options.uri}: no Milvus server answers there ({tried})") from error
                time.sleep(min(2.0**attempt, 10.0))
        raise AssertionError

    def close(self) -> None:
        """Give the folder or the connection free."""
        self.client.close()
        if self.is_lite:  # its server lives as long as this process otherwise
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.options.uri)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            raise UserError(f"{self.options.uri}: {what} failed ({one_line(error)})") from error

    @property
    def _manifest(self) -> str:
        return f"{self.name}_manifest"

    def manifest(self) -> dict[str, Any] | None:
        """What the collection was made of; None where there is no such collection."""
        with self._asking("reading the manifest"):
            if not (self.client.has_collection(self.name) and self.client.has_collection(self._manifest)):
                return None
            self.client.load_collection(self._manifest)
            self.client.load_collection(self.name)
            rows = self.client.get(self._manifest, ids=["manifest"])
            return json.loads(rows[0]["text"]) if rows else None

    def create(self, manifest: Mapping[str, Any], dimension: int) -> None:
        """Make the collection anew, empty."""
        with self._asking("making the collection"):
            self.drop()
            self._create_collection(dimension)
            self.client.create_collection(
                self._manifest, dimension=2, id_type="string", max_length=16, consistency_level="Strong"
            )
            self.client.upsert(self._manifest, [{"id": "manifest", "vector": [1.0, 0.0], "text": json.dumps(manifest)}])

    def drop(self) -> None:
        """Remove the collection."""
        for name in (self.name, self._manifest):
            if self.client.has_collection(name):
                self.client.drop_collection(name)

    def _create_collection(self, dimension: int) -> None:
        from pymilvus import DataType, Function, FunctionType

        options, lexical = self.options, self.options.lexical
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        for field in ("id", "database", "origin"):
            schema.add_field(field, DataType.VARCHAR, is_primary=field == "id", max_length=16)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
        for field in _SHOWN:
            more = {"enable_analyzer": True} if lexical and field == "question" else {}
            schema.add_field(field, DataType.VARCHAR, max_length=MOST_BYTES, **more)
        indexes = self.client.prepare_index_params()
        params = {"HNSW": {"M": 32, "efConstruction": 200}, "IVF_FLAT": {"nlist": 256}}.get(options.index_type, {})
        indexes.add_index("vector", index_type=options.index_type, metric_type="COSINE", params=params)
        if lexical:
            schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
            schema.add_function(Function("bm25", FunctionType.BM25, ["question"], ["words"]))
            indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        self.client.create_collection(self.name, schema=schema, index_params=indexes, consistency_level="Strong")

    def known(self, ids: Sequence[str]) -> set[str]:
        """Which of these rows are stored already."""
        with self._asking("looking for rows"):
            return {row["id"] for row in self.client.get(self.name, ids=list(ids), output_fields=["id"])}

    def count(self) -> int:
        """How many rows are stored."""
        with self._asking("counting"):
            return int(self.client.query(self.name, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def upsert(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store rows with ``id``, ``vector`` and the texts; one that is there already is replaced."""
        keyed = [{**row, "database": digest_of(row["db_id"]), "origin": digest_of(row["source"])} for row in rows]
        with self._asking("storing rows"):
            self.client.upsert(self.name, keyed)

    def search(
        self, vectors: NDArray[np.float32] | None, texts: Sequence[str], limit: int, but: str | None = None
    ) -> list[list[dict[str, Any]]]:
        """The best rows for each query, by vectors, by the texts' words (where ``vectors`` is None), or by both.

        ``but``: the database whose rows are left out. Approximate indexes lose rows under a filter, so there the caller
        leaves them out of a longer list.
        """
        mode = self.options.mode if vectors is not None else "lexical"
        found: list[list[dict[str, Any]]] = []
        with self._asking("search"):
            for start in range(0, len(texts), _QUERIES_A_CALL):
                part = slice(start, start + _QUERIES_A_CALL)
                near = vectors[part] if vectors is not None else None
                answers = self._search(mode, near, list(texts[part]), limit, self._filter(but))
                found += [[{**hit["entity"], "distance": hit["distance"]} for hit in hits] for hits in answers]
        return found

    def _search(self, mode: str, vectors: Any, texts: list[str], limit: int, chosen: str) -> Any:
        from pymilvus import AnnSearchRequest, RRFRanker

        params = {"params": {"ef": max(64, 2 * limit), "nprobe": 32}} if self.options.index_type != "FLAT" else {}
        common = {"limit": limit, "output_fields": _SHOWN}
        if mode == "hybrid":
            requests = [
                AnnSearchRequest(list(vectors), "vector", params, limit, expr=chosen or None),
                AnnSearchRequest(texts, "words", {}, limit, expr=chosen or None),
            ]
            return self.client.hybrid_search(self.name, requests, RRFRanker(_FUSION), **common)
        data, field = (texts, "words") if mode == "lexical" else (list(vectors), "vector")
        how = {} if mode == "lexical" else params
        return self.client.search(self.name, data, chosen, anns_field=field, search_params=how, **common)

    def _filter(self, but: str | None) -> str:
        """A Milvus expression over digests, which are letters and digits."""
        parts = [f'database != "{digest_of(but)}"'] if but else []
        if self.options.sources:
            parts.append(f"origin in {json.dumps([digest_of(name) for name in self.options.sources])}")
        return " and ".join(parts)
