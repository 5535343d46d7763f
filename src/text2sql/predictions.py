"""The predictions file of a run: appended to while it runs, trusted only together with the note of what made it."""

import fcntl
import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from text2sql.artifacts import is_current, locked, read_note, write_note
from text2sql.errors import UserError
from text2sql.records import Prediction, read_jsonl, write_jsonl

logger = logging.getLogger(__name__)


def note_path(path: Path) -> Path:
    """Where the note about the predictions at ``path`` lies."""
    return path.with_name(path.name + ".meta.json")


def provenance(path: Path) -> dict[str, Any] | None:
    """What made the predictions at ``path``; None where no note says it."""
    note = read_note(note_path(path))
    return note["made_of"] if note else None


@dataclass(frozen=True)
class PredictionFile:
    """Predictions at ``path`` made as ``provenance`` says, ``n`` samples a question."""

    path: Path
    provenance: dict[str, Any]
    n: int

    def claim(self) -> AbstractContextManager[int]:
        """Keep other runs from this file.

        Raises:
            UserError: another run holds it.
        """
        message = f"{self.path}: another run is writing there; wait for it, or give another output"
        return locked(self.path.with_name(f".{self.path.name}.lock"), message)

    def open(self, keep: bool) -> set[str]:
        """Get ready to append; returns the ids of questions answered already.

        A torn last line or question is dropped. Predictions that something else made are put aside as ``.previous``.
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
        raw = self.path.read_bytes()
        if not raw.endswith(b"\n"):
            self.path.write_bytes(raw[: raw.rfind(b"\n") + 1])
        samples = self._read()
        whole = {
            key: rows for key, rows in samples.items() if sorted(row.sample for row in rows) == list(range(self.n))
        }
        if len(whole) < len(samples):
            write_jsonl(self.path, (row for rows in whole.values() for row in rows))
        return set(whole)

    def _read(self) -> dict[str, list[Prediction]]:
        samples: dict[str, list[Prediction]] = defaultdict(list)
        for prediction in read_jsonl(self.path, Prediction):
            samples[prediction.question_id].append(prediction)
        return samples

    def append(self, samples: Sequence[Prediction]) -> None:
        """Add a question's samples in one write."""
        lines = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in samples)
        with self.path.open("a", encoding="utf-8") as out:
            out.write(lines)

    def finish(self, order: Sequence[str]) -> None:
        """Put the predictions in the examples' order: equal runs then give equal files.

        Predictions beyond ``order`` (a run with a larger ``limit`` came before) are kept behind.
        """
        samples = self._read()
        keys = dict.fromkeys([*order, *samples])
        write_jsonl(self.path, (row for key in keys for row in sorted(samples[key], key=lambda row: row.sample)))


@dataclass(frozen=True)
class Shard:
    """Part ``index`` (from 1) of ``count``."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``i/n``.

        Raises:
            UserError: it is not of that form, or i is not within 1 to n.
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
        """Join the parts in ``output`` once all are there and made alike; returns whether ``output`` is complete."""
        if self.count == 1:
            return True
        parts = [Shard(index, self.count).path(output) for index in range(1, self.count + 1)]
        notes = [provenance(part) for part in parts]
        if not all(part.is_file() for part in parts) or any(note is None or note != notes[0] for note in notes):
            return False
        samples: dict[str, list[Prediction]] = defaultdict(list)
        with parts[0].open("rb") as first:
            fcntl.flock(first, fcntl.LOCK_EX)  # the last two parts may finish at the same moment
            for part in parts:
                for prediction in read_jsonl(part, Prediction):
                    samples[prediction.question_id].append(prediction)
            if not set(order) <= set(samples):
                return False
            write_jsonl(output, (row for key in order for row in samples[key]))
            write_note(note_path(output), notes[0] or {})
        logger.info("all %d parts are there: joined in %s", self.count, output)
        return True
