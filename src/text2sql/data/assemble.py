"""The second pass: from parts to files, one split after another, deciding by heads and copying lines as they are.

Everything here depends on the parts and their order alone, so a run that was killed ends with the same bytes. Splits
that the recipe asks for share nothing: by database, whole databases go to the smaller splits until each has its share.
At random, a hash of the question's words decides, so that repeated questions stay in one split, and a row whose query
another split has is left out.
"""

import json
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from text2sql.artifacts import whole_file
from text2sql.data.normal import digest
from text2sql.data.options import WHOLE, CommonOptions, FileOptions, Format
from text2sql.data.parts import Head, Kept, file_of, read_part
from text2sql.data.statistics import SplitStatistics
from text2sql.errors import UserError

_LEFT_OUT = -1
_NO_LINE = b"null"
_WHOLE = f'"split": "{WHOLE}"'.encode()  # as a column: inside of texts, quotes are escaped


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
    questions: "array[int]" = field(default_factory=lambda: array("Q"))
    queries: "array[int]" = field(default_factory=lambda: array("Q"))

    def write(self, row: Kept, limit: int | None, split: bytes) -> None:
        self.statistics.add(row.head)
        self.examples.write(row.example.replace(_WHOLE, split) + b"\n")
        self.questions.append(digest(row.head.db_id, str(row.head.question)))
        self.queries.append(digest(row.head.db_id, str(row.head.query)))
        fits = limit is None or row.head.chars <= limit
        for file, line in zip(self.training, row.lines, strict=True):
            file.add(line.replace(_WHOLE, split), fits)
            if line == _NO_LINE:
                self.statistics.without[file.kind] += 1


class Assembler:
    """Writes a source's parts into ``output``; ``rows`` and the statistics of ``targets`` then say what was written."""

    def __init__(self, options: CommonOptions, training_splits: tuple[str, ...]) -> None:
        self.options, self.training_splits = options, training_splits
        self.examples = options.output / "examples"
        self.splitter, self.drop = None, False
        if isinstance(options, FileOptions):
            self.drop = options.duplicates == "drop"
            self.splitter = Splitter(options.split, options.split_by, options.seed) if options.split else None
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
        names = (split,) if self.splitter is None else self.training_splits
        if self.splitter is not None:
            rows = chain.from_iterable(map(read_part, parts))
            self.splitter.plan(row.head for row in rows if isinstance(row, Kept))
        with ExitStack() as stack:
            targets = {name: self._open(name, stack) for name in names}
            for row in chain.from_iterable(map(read_part, parts)):
                name, reason = self._place(row, names[0]) if isinstance(row, Kept) else (None, row["reason"])
                if isinstance(row, Kept) and name is not None:
                    targets[name].write(row, self.options.max_prompt_chars, f'"split": "{name}"'.encode())
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
        seed = self.options.seed if name.startswith("train") else None
        examples = stack.enter_context(whole_file(self.examples / f"{name}.jsonl", "wb"))
        paths = {kind: self.options.output / file_of(kind, name) for kind in formats}
        files = [stack.enter_context(_training_file(kind, path, seed)) for kind, path in paths.items()]
        return _Target(SplitStatistics(self.options.max_prompt_chars), examples, files)

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


class Splitter:
    """Names the split of each row. ``shares`` by split, of which the first takes what the others leave."""

    def __init__(self, shares: dict[str, float], by: str, seed: int) -> None:
        self.shares, self.by, self.seed = shares, by, seed
        self.databases: dict[str, str] = {}
        self.queries: dict[int, str] = {}

    def plan(self, heads: Iterable[Head]) -> None:
        """Look at all rows once; only databases need it.

        Raises:
            UserError: there are fewer databases than splits.
        """
        if self.by != "database":
            return
        rows = Counter(head.db_id for head in heads)
        if len(rows) < len(self.shares):
            raise UserError(
                f"split: {len(rows)} databases cannot be divided into {len(self.shares)} splits; use split_by=random"
            )
        waiting = sorted(rows)
        random.Random(self.seed).shuffle(waiting)
        first, *others = self.shares
        for number, name in enumerate(others):
            left = self.shares[name] * rows.total()
            reserved = len(others) - number  # databases that the splits after this one, and the first, still need
            while len(waiting) > reserved and (left > 0 or name not in self.databases.values()):
                chosen = waiting.pop()
                if rows[chosen] > 2 * left and name in self.databases.values():
                    waiting.insert(0, chosen)
                    break
                self.databases[chosen] = name
                left -= rows[chosen]
        self.databases |= dict.fromkeys(waiting, first)

    def name(self, head: Head) -> str | None:
        """The row's split, or None where its query belongs to another already."""
        if self.by == "database":
            return self.databases[head.db_id]
        place = digest(str(self.seed), str(head.question)) / (1 << 63)
        chosen = next(iter(self.shares))
        for name, share in self.shares.items():
            if place < share:
                chosen = name
                break
            place -= share
        query = digest(head.db_id, str(head.query))
        return chosen if self.queries.setdefault(query, chosen) == chosen else None
