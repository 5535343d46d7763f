"""Judgements on disk, appended as they come, and what they amount to."""

import fcntl
import json
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from text2sql.errors import UserError
from text2sql.prompts import JUDGE_AXES

JUDGEMENTS = "judgements.jsonl"
_SHOWN = 10


@dataclass(frozen=True)
class Judgement:
    """One completion judged: ``scores`` by axis, or the name of the ``failure`` and its ``detail``. ``key`` tells the
    prompt and the model."""

    key: str
    question_id: str
    sample: int
    scores: dict[str, float] | None
    comment: str = ""
    failure: str = ""
    detail: str = ""
    attempts: int = 1


@contextmanager
def journal(folder: Path) -> Iterator[IO[str]]:
    """The file of judgements, held by this run alone, whole lines only.

    Raises:
        UserError: another run holds it, or it cannot be written.
    """
    path = folder / JUDGEMENTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); correct output_dir") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{path}: another run is writing there; wait for it, or give another output_dir") from None
        whole = path.read_bytes().rpartition(b"\n")
        file.truncate(len(whole[0] + whole[1]))  # a killed run may have left part of a line
        yield file


def read_judgements(file: IO[str]) -> dict[str, Judgement]:
    """Judgements by key; of several the last."""
    file.seek(0)
    found = {}
    for number, line in enumerate(file, 1):
        try:
            judgement = Judgement(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise UserError(f"{file.name}:{number}: not a judgement ({error}); put the file aside") from error
        found[judgement.key] = judgement
    return found


def summarize(judgements: Sequence[Judgement], model: str, language: str) -> dict[str, Any]:
    """Mean, standard deviation and distribution of each axis over the completions judged; failures by name."""
    scored = [(j, j.scores) for j in judgements if j.scores is not None]
    failed = [j for j in judgements if j.scores is None]
    axes: dict[str, dict[str, Any]] = {}
    for axis in JUDGE_AXES if scored else ():
        values = [scores[axis] for _, scores in scored]
        spread = dict(sorted(Counter(f"{round(value)}" for value in values).items()))
        axes[axis] = {"mean": statistics.fmean(values), "std": statistics.pstdev(values), "distribution": spread}
    lowest = sorted(scored, key=lambda pair: sum(pair[1].values()))[:_SHOWN]
    return {
        "model": model,
        "language": language,
        "completions": len(judgements),
        "judged": len(scored),
        "asked_again": sum(j.attempts > 1 for j in judgements),
        "failed": dict(Counter(j.failure for j in failed).most_common()),
        "scores": axes,
        "overall": statistics.fmean(value["mean"] for value in axes.values()) if axes else None,
        "lowest": [
            {"question_id": j.question_id, "sample": j.sample, **scores, "comment": j.comment} for j, scores in lowest
        ],
        "failures": [
            {key: getattr(j, key) for key in ("question_id", "sample", "failure", "detail")} for j in failed[:_SHOWN]
        ],
    }
