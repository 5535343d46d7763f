"""What the evaluator says about one prediction."""

from dataclasses import dataclass
from typing import Literal

from sqleval.overlap import Overlap

Outcome = Literal["match", "mismatch", "error", "gold_error"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one (database, gold, prediction).

    ``score`` is 1.0 or 0.0 except for graded protocols (soft F1; VES, where it is the reward, up to 1.25).
    ``error_class`` is an :class:`sqleval.outcome.ErrorClass` value when the prediction gave no rows, or the gold
    (outcome ``gold_error``); ``name`` is the table or column it names. ``gold_rows`` and ``pred_rows`` are counts on the
    first instance, -1 where unknown; a prediction is read no further than its verdict needs, so a larger count is a
    lower bound. ``overlap`` says how near a mismatch is on the first instance, where the evaluator was asked for it.
    """

    correct: bool
    outcome: Outcome
    error_class: str | None = None
    message: str = ""
    name: str = ""
    score: float = 0.0
    gold_rows: int = -1
    pred_rows: int = -1
    overlap: Overlap | None = None
