"""Judgements on disk, appended as they come, and their summary."""

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from text2sql.artifacts import locked
from text2sql.errors import UserError, first_complaint
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
def journal(folder: Path) -> Iterator[tuple[dict[str, Judgement], Callable[[Judgement], None]]]:
    """Judgements by key (of several the last), and a function that appends one; held by this run alone.

    Raises:
        UserError: another run holds the file, or a line in it is not a judgement.
    """
    path = folder / JUDGEMENTS
    message = f"{path}: another run is writing there; wait for it, or give another output_dir"
    with locked(folder / f".{JUDGEMENTS}.lock", message), path.open("a+b") as file:
        file.seek(0)
        whole = b"".join(file.read().rpartition(b"\n")[:2])
        file.truncate(len(whole))  # a killed run may have left part of a line

        def append(judgement: Judgement) -> None:
            file.write(json.dumps(asdict(judgement), ensure_ascii=False).encode() + b"\n")
            file.flush()

        yield _read(whole, path), append


def _read(lines: bytes, path: Path) -> dict[str, Judgement]:
    found, adapter = {}, TypeAdapter(Judgement)
    for number, line in enumerate(lines.splitlines(), 1):
        try:
            judgement = adapter.validate_json(line)
        except ValidationError as error:
            problem = first_complaint(error)
            raise UserError(f"{path}:{number}: not a judgement ({problem}); put the file aside") from error
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
