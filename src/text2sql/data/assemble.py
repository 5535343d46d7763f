"""The second pass: from parts to files, one split after another, deciding by heads and copying lines as they are.

Everything here depends on the parts and their order alone, so a run that was killed ends with the same bytes.
"""

import json
import random
from array import array
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain, combinations, cycle
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from text2sql.artifacts import whole_file
from text2sql.data.normal import digest
from text2sql.data.options import CommonOptions, FileOptions, Format
from text2sql.data.parts import Kept, file_of, read_part
from text2sql.data.splits import Splitter, ValDatabases, splitter_of
from text2sql.data.statistics import SplitStatistics

_LEFT_OUT = -1
_NO_LINE = b"null"


@dataclass
class _TrainingFile:
    """A training file on its way to disk, and where its lines begin in it."""

    kind: Format
    path: Path
    file: IO[bytes]
    places: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, line: bytes, fits: bool) -> None:
        if not fits or line == _NO_LINE:
            self.places.append(_LEFT_OUT)
        else:
            self.places.append(self.file.tell())
            self.file.write(line + b"\n")


@contextmanager
def _training_file(kind: Format, path: Path, seed: int | None) -> Iterator[_TrainingFile]:
    """Write a training file whole; with a ``seed`` its lines are shuffled when all are there.

    Shuffled, because Megatron reads lines in order, and ``max_samples`` takes the first.
    """
    if seed is None:
        with whole_file(path, "wb") as out:
            yield _TrainingFile(kind, path, out)
        return
    with TemporaryFile(dir=path.parent) as ordered:
        made = _TrainingFile(kind, path, ordered)
        yield made
        random.Random(seed).shuffle(made.places)
        with whole_file(path, "wb") as out:
            for place in made.places:
                if place != _LEFT_OUT:
                    ordered.seek(place)
                    out.write(ordered.readline())


@dataclass
class _Target:
    """A split on its way to disk, with keys of questions and queries for the proof that splits share nothing."""

    statistics: SplitStatistics
    examples: IO[bytes]
    training: list[_TrainingFile]
    is_training: bool
    questions: "array[int]" = field(default_factory=lambda: array("Q"))
    queries: "array[int]" = field(default_factory=lambda: array("Q"))

    def write(self, row: Kept, limit: int | None, given: bytes, split: bytes) -> None:
        """``given`` and ``split`` are the row's column before and now."""
        self.statistics.add(row.head)
        self.examples.write(row.example.replace(given, split) + b"\n")
        self.questions.append(digest(row.head.db_id, str(row.head.question)))
        self.queries.append(digest(row.head.db_id, str(row.head.query)))
        fits = limit is None or row.head.chars <= limit
        lines = row.lines if self.is_training else row.lines[: len(self.training)]
        for file, line in zip(cycle(self.training), lines):
            file.add(line.replace(given, split), fits)
            if line == _NO_LINE:
                self.statistics.without[file.kind] += 1


class Assembler:
    """Writes a source's parts into ``output``; ``rows`` and the statistics of ``targets`` then say what was written."""

    def __init__(self, options: CommonOptions, training_splits: tuple[str, ...]) -> None:
        self.options, self.training_splits = options, training_splits
        self.examples = options.output / "examples"
        self.drop = isinstance(options, FileOptions) and options.duplicates == "drop"
        self.splitter: Splitter | ValDatabases | None = None
        self.seen: dict[int, int] = {}
        self.rows: dict[Path, int] = {}
        self.targets: dict[str, _Target] = {}

    def write_all(self, parts: Mapping[str, list[Path]]) -> Path:
        """All splits of the source, from their parts; returns the file of the rows that were left out."""
        path = self.options.output / "rejected.jsonl"
        with whole_file(path, "wb") as rejected:
            for split, files in parts.items():
                self._write(split, files, rejected)
        return path

    def _write(self, split: str, parts: list[Path], rejected: IO[bytes]) -> None:
        self.splitter = splitter_of(self.options, split)
        names = (split,) if self.splitter is None else self.splitter.names
        if self.splitter is not None:
            rows = chain.from_iterable(map(read_part, parts))
            self.splitter.plan(row.head for row in rows if isinstance(row, Kept))
        with ExitStack() as stack:
            targets = {name: self._open(name, stack) for name in names}
            for row in chain.from_iterable(map(read_part, parts)):
                name, reason = self._place(row, names[0]) if isinstance(row, Kept) else (None, row["reason"])
                if isinstance(row, Kept) and name is not None:
                    targets[name].write(row, self.options.max_prompt_chars, _column(split), _column(name))
                    continue
                if isinstance(row, Kept):
                    example = json.loads(row.example)
                    shown = {key: example[key] for key in ("question_id", "db_id", "question", "sql")}
                    row = {**shown, "reason": reason, "detail": ""}
                targets[names[0]].statistics.reject(row)
                rejected.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            for name, target in targets.items():
                self.rows[self.examples / f"{name}.jsonl"] = target.statistics.kept
                self.rows |= {file.path: len(file.places) - file.places.count(_LEFT_OUT) for file in target.training}
        self.targets |= targets
        self.seen.clear()

    def _place(self, row: Kept, only: str) -> tuple[str | None, str]:
        """The split that the row goes to, or None and why it is left out."""
        if self.drop:
            key = digest(row.head.db_id, str(row.head.question))
            if key in self.seen:
                same = self.seen[key] == row.head.query
                return None, "duplicate question and SQL" if same else "duplicate question, other SQL"
            self.seen[key] = row.head.query
        return only if self.splitter is None else self.splitter.name(row.head), "same query in another split"

    def _open(self, name: str, stack: ExitStack) -> _Target:
        formats = self.options.formats if name in self.training_splits else []
        is_training = name.startswith("train")
        seed = self.options.seed if is_training else None
        examples = stack.enter_context(whole_file(self.examples / f"{name}.jsonl", "wb"))
        paths = {kind: self.options.output / file_of(kind, name) for kind in formats}
        files = [stack.enter_context(_training_file(kind, path, seed)) for kind, path in paths.items()]
        return _Target(SplitStatistics(self.options.max_prompt_chars), examples, files, is_training)

    def overlaps(self) -> dict[str, dict[str, int]]:
        """For each two splits: databases in both, and questions and queries about the same database in both."""
        import numpy as np

        found = {}
        for (name, one), (other_name, other) in combinations(self.targets.items(), 2):
            found[f"{name} and {other_name}"] = {
                "databases": len(one.statistics.databases & other.statistics.databases),
                "questions": len(np.intersect1d(np.array(one.questions), np.array(other.questions))),
                "queries": len(np.intersect1d(np.array(one.queries), np.array(other.queries))),
            }
        return found


def _column(split: str) -> bytes:
    """The column as it is written; inside of texts, quotes are escaped."""
    return f'"split": "{split}"'.encode()
