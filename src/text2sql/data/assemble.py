"""The second pass: from parts to files, one split after another, deciding by heads and copying lines as they are.

Everything here depends on the parts and their order alone, so a run that was killed ends with the same bytes.
"""

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from text2sql.data.normal import digest
from text2sql.data.outputs import file_of, shuffled
from text2sql.data.parts import Kept, read_part
from text2sql.data.sources import CommonOptions
from text2sql.data.split import Splitter
from text2sql.data.statistics import SplitStatistics

_OVER = -1


@dataclass
class _Target:
    """A split on its way to disk: open files, places of lines in the training files, keys for the proof of no overlap."""

    statistics: SplitStatistics
    examples: IO[bytes]
    training: Sequence[IO[bytes]]
    places: "list[array[int]]"
    questions: "array[int]" = field(default_factory=lambda: array("Q"))
    queries: "array[int]" = field(default_factory=lambda: array("Q"))

    def write(self, row: Kept, limit: int | None) -> None:
        self.statistics.add(row.head)
        self.examples.write(row.example + b"\n")
        self.questions.append(digest(row.head.db_id, str(row.head.question)))
        self.queries.append(digest(row.head.db_id, str(row.head.query)))
        fits = limit is None or row.head.chars <= limit
        self.statistics.unpaired += b"null" in row.lines
        for file, places, line in zip(self.training, self.places, row.lines, strict=True):
            places.append(file.tell() if fits and line != b"null" else _OVER)
            if places[-1] != _OVER:
                file.write(line + b"\n")


class Assembler:
    """Writes a source's parts into ``output``."""

    def __init__(self, options: CommonOptions, taught: tuple[str, ...], splitter: Splitter | None, drop: bool) -> None:
        """``drop``: leave out questions asked before about the same database; ``splitter`` divides split ``all``."""
        self.options, self.taught, self.splitter, self.drop = options, taught, splitter, drop
        self.seen: dict[int, int] = {}
        self.rows: dict[Path, int] = {}
        self.statistics: dict[str, SplitStatistics] = {}
        self.keys: dict[str, tuple[Any, Any]] = {}

    def write(self, split: str, parts: list[Path], rejected: IO[bytes]) -> None:
        """One split of the source, from its parts."""
        names = (split,) if self.splitter is None else self.taught
        if self.splitter is not None:
            self.splitter.plan(row.head for row in _rows(parts) if isinstance(row, Kept))
        with ExitStack() as stack:
            targets = {name: self._open(name, stack) for name in names}
            first = targets[names[0]]
            for row in _rows(parts):
                reason = self._refusal(row) if isinstance(row, Kept) else row["reason"]
                if isinstance(row, Kept) and not reason:
                    name = names[0] if self.splitter is None else self.splitter.name(row.head)
                    if name is not None:
                        targets[name].write(row, self.options.max_prompt_chars)
                        continue
                    reason = "same query in another split"
                refused = _refused(row, reason) if isinstance(row, Kept) else row
                first.statistics.reject(refused)
                rejected.write(json.dumps(refused, ensure_ascii=False).encode() + b"\n")
        for name, target in targets.items():
            self._finish(name, target)
        self.seen.clear()

    def _refusal(self, row: Kept) -> str:
        if not self.drop:
            return ""
        key = digest(row.head.db_id, str(row.head.question))
        before = self.seen.get(key)
        if before is None:
            self.seen[key] = row.head.query
            return ""
        return "duplicate question and SQL" if before == row.head.query else "duplicate question, other SQL"

    def _open(self, name: str, stack: ExitStack) -> _Target:
        examples = self.options.output / "examples" / f"{name}.jsonl"
        examples.parent.mkdir(parents=True, exist_ok=True)
        formats = self.options.formats if name in self.taught else []
        files = [
            stack.enter_context((self.options.output / f"{file_of(kind, name)}.ordered").open("wb")) for kind in formats
        ]
        statistics = self.statistics[name] = SplitStatistics(self.options.max_prompt_chars)
        out = stack.enter_context(examples.with_name(examples.name + ".partial").open("wb"))
        return _Target(statistics, out, files, [array("q") for _ in formats])

    def _finish(self, name: str, target: _Target) -> None:
        examples = Path(target.examples.name)
        final = examples.with_name(examples.name.removesuffix(".partial"))
        examples.replace(final)
        self.rows[final] = target.statistics.kept
        self.keys[name] = (target.questions, target.queries)
        for file, places in zip(target.training, target.places, strict=True):
            path = Path(file.name)
            final = path.with_name(path.name.removesuffix(".ordered"))
            order = shuffled(places, self.options.seed) if name.startswith("train") else None
            self.rows[final] = _copy(path, final, places, order)

    def overlaps(self) -> dict[str, dict[str, int]]:
        """For each two splits: databases in both, and questions and queries about the same database in both."""
        import numpy as np

        found = {}
        names = list(self.keys)
        for place, one in enumerate(names):
            for other in names[place + 1 :]:
                pairs = zip(self.keys[one], self.keys[other], strict=True)
                shared = [len(np.intersect1d(np.array(a), np.array(b))) for a, b in pairs]
                databases = self.statistics[one].databases & self.statistics[other].databases
                found[f"{one} and {other}"] = {
                    "databases": len(databases), "questions": shared[0], "queries": shared[1]
                }  # fmt: skip
        return found


def _rows(parts: Iterable[Path]) -> Iterator[Kept | dict[str, Any]]:
    for part in parts:
        yield from read_part(part)


def _refused(row: Kept, reason: str) -> dict[str, Any]:
    example = json.loads(row.example)
    return {
        **{key: example[key] for key in ("question_id", "db_id", "question", "sql")},
        "reason": reason,
        "detail": "",
    }


def _copy(ordered: Path, final: Path, places: "array[int]", order: "array[int] | None") -> int:
    """The training file in its final order; returns its rows."""
    if order is None:
        ordered.replace(final)
        return sum(place != _OVER for place in places)
    count = 0
    partial = final.with_name(final.name + ".partial")
    with ordered.open("rb") as source, partial.open("wb") as out:
        for place in order:
            if place != _OVER:
                source.seek(place)
                out.write(source.readline())
                count += 1
    partial.replace(final)
    ordered.unlink()
    return count
