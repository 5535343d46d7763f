"""The predictions file of a run: appended to while it runs, and reused only if its note says that the same made it."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from text2sql.artifacts import is_current, locked, read_note, whole_lines, write_note
from text2sql.errors import UserError
from text2sql.records import Prediction, as_line, read_jsonl, write_jsonl

logger = logging.getLogger(__name__)


def note_path(path: Path) -> Path:
    """The file that says what made the predictions at ``path``."""
    return path.with_name(path.name + ".meta.json")


def provenance(path: Path) -> dict[str, Any] | None:
    """What made the predictions at ``path``; None where they have no note."""
    note = read_note(note_path(path))
    return note["made_of"] if note else None


@dataclass(frozen=True)
class PredictionFile:
    """Predictions at ``path``, made with what ``provenance`` says, ``n`` samples a question; rows are of ``kind``."""

    path: Path
    provenance: dict[str, Any]
    n: int
    kind: type[Prediction] = Prediction

    def claim(self) -> AbstractContextManager[int]:
        """Keep other runs from this file.

        Raises:
            UserError: another run holds it.
        """
        message = f"{self.path}: another run is writing there; wait for it, or give another output"
        return locked(self.path.with_name(f".{self.path.name}.lock"), message)

    def open(self, keep: bool) -> set[str]:
        """Get ready to append; returns the ids of questions answered already.

        An incomplete last line or question is dropped. Predictions made with something else are renamed to ``.previous``.
        """
        if self.path.exists() and not is_current(note_path(self.path), self.provenance):
            aside = self.path.with_name(self.path.name + ".previous")
            self.path.replace(aside)
            before = provenance(self.path)
            changed = [key for key, value in self.provenance.items() if (before or {}).get(key) != value]
            reason = f"other {', '.join(changed)}" if before else "no note of what made it"
            logger.warning("%s has %s: put aside as %s, starting again", self.path, reason, aside.name)
        elif not keep:
            self.path.unlink(missing_ok=True)
        write_note(note_path(self.path), self.provenance)
        return self._mend()

    def _mend(self) -> set[str]:
        if not self.path.exists():
            return set()
        whole_lines(self.path)
        samples = _by_question(self.path, kind=self.kind)
        whole = {
            key: rows for key, rows in samples.items() if sorted(row.sample for row in rows) == list(range(self.n))
        }
        if len(whole) < len(samples):
            write_jsonl(self.path, (row for rows in whole.values() for row in rows))
        return set(whole)

    def append(self, samples: Sequence[Prediction]) -> None:
        """Add a question's samples in one write."""
        lines = "".join(map(as_line, samples))
        with self.path.open("a", encoding="utf-8") as out:
            out.write(lines)

    def finish(self, order: Sequence[str]) -> None:
        """Sort the predictions into the examples' order, so that equal runs give equal files.

        Predictions of other questions (of an earlier run with a larger ``limit``) are kept at the end.
        """
        samples = _by_question(self.path, kind=self.kind)
        keys = dict.fromkeys([*order, *samples])
        write_jsonl(self.path, (row for key in keys for row in sorted(samples[key], key=lambda row: row.sample)))


def _by_question(*paths: Path, kind: type[Prediction] = Prediction) -> dict[str, list[Prediction]]:
    samples: dict[str, list[Prediction]] = defaultdict(list)
    for path in paths:
        for prediction in read_jsonl(path, kind):
            samples[prediction.question_id].append(prediction)
    return samples


@dataclass(frozen=True)
class Shard:
    """Part ``index`` (from 1) of ``count``."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``i/n``.

        Raises:
            UserError: it is not of that form, or i is not from 1 to n.
        """
        left, slash, right = text.partition("/")
        if not (slash and left.isdecimal() and right.isdecimal() and 1 <= int(left) <= int(right)):
            raise UserError(f"shard is written i/n with i from 1 to n, for example 1/4, not {text!r}")
        return cls(int(left), int(right))

    def path(self, output: Path) -> Path:
        """Where this part's predictions go."""
        if self.count == 1:
            return output
        return output.with_name(f"{output.stem}.shard-{self.index}-of-{self.count}{output.suffix}")

    def join(self, output: Path, order: Sequence[str]) -> bool:
        """Join the parts in ``output`` once all are there and made with the same; returns whether ``output`` is complete.

        Two parts that finish at the same moment both join, which writes the same file twice.
        """
        if self.count == 1:
            return True
        parts = [Shard(index, self.count).path(output) for index in range(1, self.count + 1)]
        notes = [provenance(part) for part in parts]
        if not all(part.is_file() for part in parts) or any(note is None or note != notes[0] for note in notes):
            return False
        samples = _by_question(*parts)
        if not set(order) <= set(samples):
            return False
        write_jsonl(output, (row for key in order for row in samples[key]))
        write_note(note_path(output), notes[0] or {})
        logger.info("all %d parts are there: joined in %s", self.count, output)
        return True


def agree(first: Path, second: Path) -> tuple[int, list[str]]:
    """Compare completions of the same questions and samples to the byte: how many there are, and the keys of unequal ones.

    Do a merged model and its adapter, or two engines, give the same answers?

    Raises:
        UserError: a file is missing or empty, or the two do not answer the same questions.
    """
    left, right = _texts(first), _texts(second)
    if left.keys() != right.keys():
        odd = sorted(left.keys() ^ right.keys())
        raise UserError(
            f"{first} and {second} do not answer the same questions ({len(odd)} in one only, first: {odd[0][0]})"
        )
    differing = [key for key, text in left.items() if text != right[key]]
    return len(left), [key if sample == 0 else f"{key}#{sample}" for key, sample in differing]


def _texts(path: Path) -> dict[tuple[str, int], str]:
    found = {(row.question_id, row.sample): row.text or row.pred for row in read_jsonl(path, Prediction)}
    if not found:
        raise UserError(f"{path}: no predictions in it")
    return found
