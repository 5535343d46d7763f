"""Compares two predictions files: do a merged model and its adapter, or two engines, give the same answers?"""

from dataclasses import dataclass
from pathlib import Path

from text2sql.errors import UserError
from text2sql.records import Prediction, read_jsonl


@dataclass(frozen=True)
class Agreement:
    """``same`` of ``n`` completions are equal to the byte; ``differing`` are the keys of the others."""

    n: int
    same: int
    differing: tuple[str, ...]

    @property
    def share(self) -> float:
        """Equal completions as a fraction."""
        return self.same / self.n


def agree(first: Path, second: Path) -> Agreement:
    """Compare completions of the same questions and samples.

    Raises:
        UserError: a file is missing or empty, or the two do not answer the same questions.
    """
    left, right = _texts(first), _texts(second)
    if left.keys() != right.keys():
        odd = sorted(left.keys() ^ right.keys())
        raise UserError(
            f"{first} and {second} do not answer the same questions ({len(odd)} in one only, first: {odd[0][0]})"
        )
    differing = tuple(
        key if sample == 0 else f"{key}#{sample}" for key, sample in left if left[key, sample] != right[key, sample]
    )
    return Agreement(len(left), len(left) - len(differing), differing)


def _texts(path: Path) -> dict[tuple[str, int], str]:
    found = {(row.question_id, row.sample): row.text or row.pred for row in read_jsonl(path, Prediction)}
    if not found:
        raise UserError(f"{path}: no predictions in it")
    return found
