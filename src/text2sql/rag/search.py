"""Finds solved examples for questions: candidates from the index, the question's own kin left out, the rest put in order.

Evaluation, training data, the command and the API all call :class:`Retriever`, so that a model sees in training what it
sees in use.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from text2sql.artifacts import digest_of
from text2sql.errors import UserError
from text2sql.linking.scores import open_embedder
from text2sql.prompts import reference_item
from text2sql.rag import RagOptions
from text2sql.rag.index import asked, made_of
from text2sql.rag.models import open_reranker, query_prompt
from text2sql.rag.store import Store
from text2sql.recipe import load_recipe, options_from
from text2sql.records import Example, Reference
from text2sql.sql.skeleton import skeleton
from text2sql.values.match import tokens

logger = logging.getLogger("text2sql.rag")
_LONGEST = 8_000  # characters of a question that are looked at
_SPARE = 12  # candidates beyond max_k, for those that are left out after the search
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Found:
    """A solved example. ``score`` is the reranker's where there is one, else the search's: higher is nearer in both cases
    but for BM25, whose distances are negative."""

    question: str
    sql: str
    db_id: str
    source: str
    score: float


class Retriever:
    """An open index with its models; close it, or use it as a context manager.

    Raises:
        UserError: no such index, an unfinished one, or one made with another model or for other vectors.
    """

    def __init__(self, options: RagOptions) -> None:
        self.options = options
        self.embed = open_embedder(options.embedder, options.base_url, options.batch_size)
        self.store = Store(options)
        try:
            self.manifest = self._checked()
        except UserError:
            self.close()
            raise

    def _checked(self) -> dict[str, Any]:
        options, found = self.options, self.store.manifest()
        if found is None:
            raise UserError(
                f"{options.uri}: no index called {options.collection}; bash scripts/build_rag_index.sh RECIPE"
            )
        wanted = made_of(options, found["dimension"])
        if options.mode == "lexical" or (options.mode == "hybrid" and not found["lexical"]):
            wanted = {"lexical": True}
        differ = [f"{key} {found[key]!r}, not {wanted[key]!r}" for key in wanted if found[key] != wanted[key]]
        if differ:
            raise UserError(f"{options.uri}: {options.collection} was made with {'; '.join(differ)}; build it anew")
        count = self.store.count()
        if count != found["rows"]:
            raise UserError(
                f"{options.uri}: {count} of {found['rows']} examples are indexed; build it to the end first"
            )
        return found

    def close(self) -> None:
        """Give the index free."""
        self.store.close()

    def __enter__(self) -> "Retriever":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @cached_property
    def reranker(self) -> Any:
        """Loaded when it is first needed."""
        options = self.options
        assert options.reranker is not None
        return open_reranker(options.reranker, options.rerank_instruction or options.instruction, options.max_length)

    def find(self, questions: Sequence[str], databases: Sequence[str] | None = None) -> list[list[Found]]:
        """At most ``k`` examples for each question, the nearest first; ``databases`` are those that the questions ask.

        Raises:
            UserError: an empty question, or vectors of another width than the index has.
        """
        found = self.candidates(questions, databases)
        if self.options.reranker is not None:
            found = self.reranked(questions, found)
        return [self._kept(rows) for rows in found]

    def candidates(self, questions: Sequence[str], databases: Sequence[str] | None = None) -> list[list[Found]]:
        """At most ``max_k`` examples for each question, as the search orders them."""
        if empty := [place for place, question in enumerate(questions, 1) if not question.strip()]:
            raise UserError(f"question {empty[0]} is empty")
        texts = [question[:_LONGEST] for question in questions]
        vectors = None if self.options.mode == "lexical" or not texts else self.vectors(texts)
        owners = list(databases) if databases and self.options.exclude_database else [""] * len(texts)
        found: list[list[Found]] = [[] for _ in texts]
        for owner in dict.fromkeys(owners):
            places = [place for place, name in enumerate(owners) if name == owner]
            some = vectors[places] if vectors is not None else None
            for place, rows in zip(places, self._search(some, [texts[p] for p in places], owner), strict=True):
                found[place] = rows
        return found

    def vectors(self, questions: Sequence[str]) -> Any:
        """Vectors of questions with the instruction before them, one row each; those of texts that repeat are made once."""
        options = self.options
        prompt = query_prompt(options.instruction)
        texts = [prompt + asked(question, options.embed) for question in questions]
        distinct = list(dict.fromkeys(texts))
        made = dict(zip(distinct, self.embed(distinct), strict=True))
        vectors = np.stack([made[text] for text in texts])
        if vectors.shape[1] != self.manifest["dimension"]:
            wide = f"{vectors.shape[1]} numbers, the index has {self.manifest['dimension']}"
            raise UserError(f"{options.embedder}: its vectors have {wide}; build the index with this model")
        return vectors

    def _search(self, vectors: Any, texts: Sequence[str], owner: str) -> Iterator[list[Found]]:
        exact, most = self.options.index_type == "FLAT", self.options.max_k
        limit = most + _SPARE if exact or not owner else 4 * (most + _SPARE)
        for text, hits in zip(
            texts, self.store.search(vectors, texts, limit, owner if exact and owner else None), strict=True
        ):
            own = _words(text)
            rows = [Found(*(hit[name] for name in ("question", "sql", "db_id", "source", "distance"))) for hit in hits]
            yield [row for row in rows if not (owner and row.db_id == owner) and not self._is_near(own, row)][:most]

    def _is_near(self, words: frozenset[str], row: Found) -> bool:
        """Whether a row asks nearly the same."""
        if self.options.near is None:
            return False
        other = _words(row.question)
        return len(words & other) >= self.options.near * len(words | other)

    def reranked(self, questions: Sequence[str], found: Sequence[Sequence[Found]]) -> list[list[Found]]:
        """The candidates of each question in the order of the reranker's scores."""
        by = self.options.rerank_by
        pairs = [(q[:_LONGEST], getattr(row, by)) for q, rows in zip(questions, found, strict=True) for row in rows]
        distinct = list(dict.fromkeys(pairs))
        scores: dict[tuple[str, str], float] = {}
        if distinct:
            made = self.reranker.predict(distinct, batch_size=self.options.batch_size, show_progress_bar=False)
            scores = dict(zip(distinct, map(float, made), strict=True))
        ordered = []
        for question, rows in zip(questions, found, strict=True):
            rated = [replace(row, score=scores[question[:_LONGEST], getattr(row, by)]) for row in rows]
            ordered.append(sorted(rated, key=lambda row: -row.score))
        return ordered

    def _kept(self, rows: Iterable[Found]) -> list[Found]:
        """The first ``k`` that differ, at most ``same_form`` of one form."""
        kept: list[Found] = []
        forms: Counter[str] = Counter()
        for row in rows:
            form = skeleton(row.sql)
            if self.options.same_form is not None and forms[form] >= self.options.same_form:
                continue
            if len(kept) < self.options.k:
                kept.append(row)
                forms[form] += 1
        return kept

    def references(self, examples: Sequence[Example]) -> list[Example]:
        """The examples with references, as many as ``max_tokens`` allows; those that an example had are replaced."""
        found = self.find([e.question for e in examples], [e.db_id for e in examples])
        return [replace(example, references=self._fitting(rows)) for example, rows in zip(examples, found, strict=True)]

    def _fitting(self, rows: Iterable[Found]) -> tuple[Reference, ...]:
        """The nearest rows that fit the budget together."""
        kept, budget = [], self.options.max_tokens
        for row in rows:
            reference = Reference(row.question, row.sql)
            budget -= tokens(reference_item(reference))
            if budget < 0:
                break
            kept.append(reference)
        return tuple(kept)

    @property
    def provenance(self) -> str:
        """A digest of what decides the references: the index, the models and the keys of the search."""
        options = replace(
            self.options, uri="index.db", examples=[], overwrite=False, batch_size=1, retries=0, timeout=1.0
        )
        return digest_of([str(options), self.manifest])


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def rag_options(recipe: Path, overrides: Sequence[str] = ()) -> RagOptions:
    """The options of a retrieval recipe."""
    return options_from(RagOptions, load_recipe(recipe, list(overrides)), str(recipe))


@contextmanager
def open_retriever(recipe: Path) -> Iterator[Retriever]:
    """The retriever of a recipe, for rooms whose own recipes name it."""
    with Retriever(rag_options(recipe)) as retriever:
        yield retriever


def add_references(retriever: Retriever, examples: Iterable[Example], size: int = 512) -> Iterator[Example]:
    """The examples with references, in blocks."""
    waiting = iter(examples)
    while block := list(islice(waiting, size)):
        yield from retriever.references(block)
