"""Cuts a schema to what a question needs, and counts how much of the gold query's tables and columns is kept.

The best tables by score are kept, with the tables that join them, and of each the best columns and all keys, so that
every join that a query may need stays possible.
"""

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sqlglot import exp

from text2sql.linking import LinkOptions
from text2sql.linking.scores import lexical_scores, open_embedder
from text2sql.schema import Schema

Pair = tuple[str, str]


class Cut(NamedTuple):
    """What is left of a schema. ``counts``: gold tables kept and in all, gold columns kept and in all, columns left
    and in all; counted before the gold query's columns are put back."""

    schema: Schema
    counts: tuple[int, int, int, int, int, int]


class Linker:
    """Scores and cuts; see :class:`LinkOptions`.

    Raises:
        UserError: no such embedding model.
    """

    def __init__(self, options: LinkOptions) -> None:
        self.options = options
        self.embedder = open_embedder(options.embedder, options.base_url) if options.embedder else None
        self._schema_vectors = lru_cache(256)(self._embed_names)
        self._question_vectors: dict[str, Any] = {}

    def read(self, questions: Sequence[str]) -> None:
        """Embed the questions of later :meth:`cut` calls in one batch. Earlier questions are forgotten, so that a vector
        depends on the rows of its unit alone, whichever process makes it."""
        if self.embedder is not None and questions:
            self._question_vectors = dict(zip(questions, self.embedder(questions), strict=True))

    def cut(self, question: str, schema: Schema, file: Path | None, tree: Any, keep_gold: bool = False) -> Cut:
        """The part of the schema for a question; ``tree`` is the gold query's, for the counts and ``keep_gold``."""
        kept = self._kept(question, schema, file)
        gold = gold_columns(tree, schema)
        tables = {table for table, _ in gold}
        kept_tables, columns = {table for table, _ in kept}, sum(len(table.columns) for table in schema.tables)
        counts = (len(tables & kept_tables), len(tables), len(gold & kept), len(gold), len(kept), columns)
        shown = kept | gold if keep_gold else kept
        return Cut(schema.keep(lambda table, column: (table, column) in shown), counts)

    def scores(self, question: str, schema: Schema, file: Path | None) -> dict[Pair, float]:
        """Scores of tables, under (table, ""), and columns."""
        scores = lexical_scores(question, schema, file)
        if self.embedder is not None:
            vector = self._question_vectors.get(question)
            similar = self._schema_vectors(schema) @ (self.embedder([question])[0] if vector is None else vector)
            for pair, value in zip(scores, similar.tolist(), strict=True):
                scores[pair] += self.options.weight * value
        return scores

    def _embed_names(self, schema: Schema) -> Any:
        assert self.embedder is not None
        texts = []
        for table in schema.tables:
            texts.append(table.name.replace("_", " "))
            texts += [f"{column.name} of {table.name}".replace("_", " ") for column in table.columns]
        return self.embedder(texts)

    def _kept(self, question: str, schema: Schema, file: Path | None) -> set[Pair]:
        scores = self.scores(question, schema, file)
        best: dict[str, float] = {}
        for table in schema.tables:
            columns_best = sorted(scores[table.name, column.name] for column in table.columns)[-2:]
            best[table.name] = 1.5 * scores[table.name, ""] + sum(columns_best)
        ranked = sorted(best, key=lambda name: -best[name])[: self.options.tables]
        tables = _with_joins(schema, ranked)
        kept: set[Pair] = set()
        chosen = [table for table in schema.tables if table.name in tables]
        for table in chosen:
            columns = sorted(table.columns, key=lambda c: -scores[table.name, c.name])[: self.options.columns]
            keys = {*table.primary_key, *(key.column for key in table.foreign_keys)}
            kept |= {(table.name, c.name) for c in (*columns, *(c for c in table.columns if c.name in keys))}
        referred = {(k.ref_table, k.ref_column) for t in chosen for k in t.foreign_keys}
        return kept | {(table, column) for table, column in referred if table in tables}


def _with_joins(schema: Schema, ranked: list[str]) -> set[str]:
    """The tables, and those on the shortest paths of foreign keys from the first to each of the next two."""
    near: dict[str, set[str]] = {table.name: set() for table in schema.tables}
    for table in schema.tables:
        for key in table.foreign_keys:
            if key.ref_table in near:
                near[table.name].add(key.ref_table)
                near[key.ref_table].add(table.name)
    parent: dict[str, str] = {}
    waiting = deque(ranked[:1])
    while waiting:
        here = waiting.popleft()
        for there in sorted(near[here]):
            if there not in parent and there != ranked[0]:
                parent[there] = here
                waiting.append(there)
    kept = set(ranked)
    for name in ranked[1:3]:  # the best tables are likely to be joined; paths to all would bring back everything
        while name in parent:
            name = parent[name]
            kept.add(name)
    return kept


def gold_columns(tree: Any, schema: Schema) -> set[Pair]:
    """The columns that a parsed query reads, and for each of its tables at least one (its key, or its first)."""
    if not isinstance(tree, exp.Expression):
        return set()
    known = {table.name.lower(): table for table in schema.tables}
    alias = {node.alias_or_name.lower(): node.name.lower() for node in tree.find_all(exp.Table)}
    used = [known[name] for name in dict.fromkeys(alias.values()) if name in known]
    found: set[Pair] = set()
    for node in tree.find_all(exp.Column):
        owner = known.get(alias.get(node.table.lower(), ""))
        for table in [owner] if owner is not None else used:
            match = [c.name for c in table.columns if c.name.lower() == node.name.lower()]
            found |= {(table.name, name) for name in match}
    for table in used:
        if table.columns and not any(pair[0] == table.name for pair in found):
            found.add((table.name, (table.primary_key or (table.columns[0].name,))[0]))
    return found
