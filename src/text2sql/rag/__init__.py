"""Solved examples that resemble a question: an index of them in Milvus, search, reranking, and the models for both.

Here are the recipe's keys alone, because Milvus and the models take seconds to import. ``store`` is the only file that knows
Milvus, ``models`` the only one that knows sentence-transformers.
"""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from text2sql.recipe import STRICT

Embedded = Literal["question", "masked", "skeleton"]
IndexType = Literal["FLAT", "HNSW", "IVF_FLAT", "AUTOINDEX"]
Mode = Literal["dense", "lexical", "hybrid"]
INSTRUCTION = "Given a question about a database, find questions that a SQL query of the same form answers"
"""What a query is told to find, unless a recipe says otherwise."""
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RagOptions:
    """Keys of a recipe with ``examples`` to index, the index, and how it is searched.

    ``uri``: a Milvus server (``http://HOST:19530``; its token in the environment variable MILVUS_TOKEN), or a path ending
    in ``.db`` for Milvus Lite, which one process at a time can open. ``embed``: whose vector stands for an example, that of
    its question, of the question with ``_`` for quoted texts and numbers, or of its SQL's form. ``lexical``: also index
    words for BM25. FLAT compares with every vector; other types are faster and approximate.

    ``embedder``: a sentence-transformers folder, or with ``base_url`` a served model. ``instruction`` goes before a query
    in the form of Qwen3-Embedding ('': nothing does).

    ``mode``: by vectors, by words, or both fused by rank. The first ``max_k`` are ordered anew by ``reranker``, if any, by
    their question or their SQL, and ``k`` of them are kept: at most ``same_form`` of one form of SQL, none of the
    question's own database with ``exclude_database``, none whose question shares ``near`` of its words or more (Jaccard).
    ``sources``: only examples of these. ``max_tokens``: of the block in the prompt; the least relevant are left out first.
    """

    uri: str
    examples: list[Path] = field(default_factory=list)
    collection: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", max_length=200)] = "examples"
    embed: Embedded = "question"
    index_type: IndexType = "FLAT"
    lexical: bool = True
    overwrite: bool = False
    embedder: str = "models/Qwen3-Embedding-0.6B"
    base_url: str | None = None
    instruction: str = INSTRUCTION
    batch_size: Count = 32
    mode: Mode = "hybrid"
    max_k: Annotated[int, Field(ge=1, le=1000)] = 20
    reranker: str | None = None
    rerank_by: Literal["question", "sql"] = "question"
    rerank_instruction: str | None = None
    max_length: Count = 1024
    k: Annotated[int, Field(ge=1, le=100)] = 4
    same_form: Count | None = None
    exclude_database: bool = True
    near: Annotated[float, Field(gt=0, le=1)] | None = 0.9
    sources: list[str] = field(default_factory=list)
    max_tokens: Count = 400
    retries: Annotated[int, Field(ge=0, le=20)] = 2
    timeout: Annotated[float, Field(gt=0)] = 10.0

    def __post_init__(self) -> None:
        if self.base_url and not self.embedder:
            raise ValueError("base_url needs the served model's name as embedder")
        if self.mode != "dense" and not self.lexical:
            raise ValueError(f"mode: {self.mode} needs lexical: true")
        if not (self.uri.endswith(".db") or "://" in self.uri):
            raise ValueError("uri: a path that ends in .db, or a server's address such as http://localhost:19530")
        if self.k > self.max_k:
            raise ValueError("k is at most max_k")
