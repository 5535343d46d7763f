"""Finds training rows that leak an evaluation set.

Four rules, each on its own switch: ``question`` (the same words), ``sql`` (the same query but for its literals),
``near`` (nearly the same words: MinHash finds candidates, their exact Jaccard similarity over words and word pairs
decides) and ``database`` (the same db_id, or the same tables and columns). Paraphrases keep their gold query, so
``sql`` finds those whose words have little in common.
"""

import zlib
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from datasketch import MinHash, MinHashLSH

from text2sql.data.normal import LEAK_RULES, bare_sql, digest, question_words
from text2sql.data.reading import Fault, read_rows
from text2sql.errors import UserError
from text2sql.schema import Schema

_QUESTION = ("question", "SpiderSynQuestion", "prompt", "input", "query")
_SQL = ("sql", "query", "SQL", "answer", "output")
_PERMUTATIONS = 64
_CANDIDATE = 0.55
"""LSH threshold, below every useful ``near``: candidates are checked exactly, so only misses matter."""


class Evaluated(NamedTuple):
    """A row of an evaluation set, and where it stands."""

    question: str
    sql: str
    db_id: str
    where: str


class Leak(NamedTuple):
    """The rule that found the row, and the evaluation row it matches."""

    rule: str
    row: Evaluated


def read_evaluation(path: Path) -> list[Evaluated]:
    """The rows of an evaluation file: prepared examples, Spider's or BIRD's own files, or any table with such columns.

    Raises:
        UserError: no such file, or no row of it has a question.
    """
    found = []
    for number, row, _ in read_rows(path):
        if isinstance(row, Fault):
            raise UserError(f"{path}: row {number}: {row.reason} ({row.detail}); an evaluation set must be whole")
        question = _first(row, _QUESTION)
        sql = _first({key: value for key, value in row.items() if value != question}, _SQL)
        texts = (question, row.get("SpiderQuestion"))  # Spider-Syn has Spider's question beside the one with synonyms
        place = (str(row.get("db_id") or ""), f"{path.name} row {number}")
        found += [Evaluated(text, sql, *place) for text in texts if isinstance(text, str) and text]
    if not found:
        raise UserError(f"{path}: no row has a question ({', '.join(_QUESTION)})")
    return found


def _first(row: dict[str, Any], names: Iterable[str]) -> str:
    return next((value for name in names if isinstance(value := row.get(name), str) and value.strip()), "")


class LeakIndex:
    """Evaluation rows by what each rule compares; :meth:`find` takes some 40 microseconds."""

    def __init__(
        self,
        rows: Iterable[Evaluated],
        rules: Iterable[str] = LEAK_RULES,
        near: float = 0.7,
        schemas: Iterable[Schema] = (),
    ) -> None:
        """``schemas`` are those of the evaluation databases, for rows whose db_id says nothing."""
        self.rules, self.near = frozenset(rules), near
        self.questions: dict[int, Evaluated] = {}
        self.queries: dict[int, Evaluated] = {}
        self.databases: dict[str, Evaluated] = {}
        self.tables = {schema_key(schema) for schema in schemas}
        self.shingles: list[tuple[frozenset[int], Evaluated]] = []
        self.empty = MinHash(num_perm=_PERMUTATIONS, hashfunc=int)
        self.index = MinHashLSH(threshold=_CANDIDATE, num_perm=_PERMUTATIONS)
        for row in rows:
            self._add(row)

    def _add(self, row: Evaluated) -> None:
        words = question_words(row.question)
        key = digest(" ".join(words))
        if key not in self.questions and words:
            self.questions[key] = row
            grams = shingles(words)
            self.index.insert(len(self.shingles), self._minhash(grams))
            self.shingles.append((grams, row))
        if row.sql:
            self.queries.setdefault(digest(bare_sql(row.sql)), row)
        if row.db_id:
            self.databases.setdefault(row.db_id, row)

    def _minhash(self, grams: frozenset[int]) -> MinHash:
        one = self.empty.copy()
        one.update_batch(list(grams))
        return one

    def find(self, question: str, sql: str, db_id: str = "", schema: Schema | None = None) -> Leak | None:
        """The first rule that the row breaks, if any."""
        words = question_words(question)
        if "question" in self.rules and (row := self.questions.get(digest(" ".join(words)))):
            return Leak("question", row)
        if "database" in self.rules:
            if row := self.databases.get(db_id):
                return Leak("database", row)
            if self.tables and schema is not None and schema_key(schema) in self.tables:
                return Leak("database", Evaluated("", "", db_id, "a database of the evaluation set"))
        if "sql" in self.rules and (row := self.queries.get(digest(bare_sql(sql)))):
            return Leak("sql", row)
        return self._nearest(shingles(words)) if "near" in self.rules and words else None

    def _nearest(self, grams: frozenset[int]) -> Leak | None:
        best: tuple[float, int] = (0.0, -1)
        for number in self.index.query(self._minhash(grams)):
            other = self.shingles[number][0]
            best = max(best, (len(grams & other) / len(grams | other), -number))
        return Leak("near", self.shingles[-best[1]][1]) if best[0] >= self.near else None


def shingles(words: list[str]) -> frozenset[int]:
    """Words and pairs of neighbouring words, as numbers."""
    pairs = [f"{one} {other}" for one, other in pairwise(words)]
    return frozenset(zlib.crc32(text.encode()) for text in (*words, *pairs))


def schema_key(schema: Schema) -> int:
    """Equal for schemas with the same tables and columns, in any order and case."""
    names = sorted(f"{table.name}.{column.name}".lower() for table in schema.tables for column in table.columns)
    return digest(*names)
