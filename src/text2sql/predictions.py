"""The predictions file of a run: appended to while it runs, trusted only together with the note of what made it."""

import fcntl
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from text2sql.errors import UserError
from text2sql.records import Prediction, read_jsonl, write_jsonl

logger = logging.getLogger(__name__)


def note_path(path: Path) -> Path:
    """Where the note about the predictions at ``path`` lies."""
    return path.with_name(path.name + ".meta.json")


def read_note(path: Path) -> dict[str, Any] | None:
    """The note about the predictions at ``path``: provenance, or None where there is none or it is broken."""
    try:
        note = json.loads(note_path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def _write_note(path: Path, note: dict[str, Any]) -> None:
    partial = note_path(path).with_name(f"{note_path(path).name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(note_path(path))


@dataclass(frozen=True)
class PredictionFile:
    """Predictions at ``path`` made as ``provenance`` says, ``n`` samples a question."""

    path: Path
    provenance: dict[str, Any]
    n: int

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep other runs from this file.

        Raises:
            UserError: another run holds it, or it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = self.path.with_name(f".{self.path.name}.lock").open("a")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); correct output") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{self.path}: another run is writing there; wait for it, or give another output"
                ) from None
            yield

    def open(self, keep: bool) -> set[str]:
        """Get ready to append; returns the ids of questions answered already.

        A torn last line or question is dropped. Predictions that something else made are put aside as ``.previous``.
        """
        note = read_note(self.path)
        if self.path.exists() and note != self.provenance:
            aside = self.path.with_name(self.path.name + ".previous")
            self.path.replace(aside)
            changed = [key for key in self.provenance if (note or {}).get(key) != self.provenance[key]]
            reason = f"other {', '.join(changed)}" if note else "no note of what made it"
            logger.warning("%s has %s: put aside as %s, starting again", self.path, reason, aside.name)
        elif not keep:
            self.path.unlink(missing_ok=True)
        _write_note(self.path, self.provenance)
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
        notes = [read_note(part) for part in parts]
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
            _write_note(output, notes[0] or {})
        logger.info("all %d parts are there: joined in %s", self.count, output)
        return True
