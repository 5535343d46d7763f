"""Is a run that was spread over processes the same training as on one? Their losses, step by step.

Both runs start from the same weights, read the same examples in the same order with the same global batch, and compute in
float32, so that what differs is the order of sums.
"""

import json
from pathlib import Path

from text2sql.errors import UserError

Curve = dict[int, float]


def read_curve(run: Path) -> Curve:
    """Training loss by step, as the trainer logged it in a run's ``trainer_state.json``, or so far in its log.

    Raises:
        UserError: nothing was logged.
    """
    state, log = run / "trainer_state.json", run / "trainer_log.jsonl"
    if state.is_file():
        rows = json.loads(state.read_text(encoding="utf-8"))["log_history"]
    elif log.is_file():
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    else:
        raise UserError(f"{run}: no trainer_state.json or trainer_log.jsonl; train first")
    curve = {int(row.get("step", row.get("current_steps"))): float(row["loss"]) for row in rows if "loss" in row}
    if not curve:
        raise UserError(f"{run}: no losses were logged; train with logging_steps=1")
    return curve


def compare_curves(single: Curve, spread: Curve) -> tuple[float, float]:
    """Absolute difference of the first losses, and the largest difference of any step relative to ``single``'s loss.

    Raises:
        UserError: they are not of the same steps.
    """
    if single.keys() != spread.keys():
        raise UserError(
            f"losses of {len(single)} and {len(spread)} steps cannot be compared; log the same steps in both"
        )
    first = min(single)
    worst = max(abs(spread[step] - loss) / abs(loss) for step, loss in single.items())
    return abs(spread[first] - single[first]), worst
