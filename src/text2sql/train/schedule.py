"""Whether evaluations and checkpoints happen when a recipe says: by its intervals and the number of its steps."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from text2sql.errors import UserError

logger = logging.getLogger("text2sql.train")

_INTERVALS = (("eval_strategy", "no", "eval_steps", "evaluates"), ("save_strategy", "steps", "save_steps", "saves"))


def check_best_model(recipe: Mapping[str, Any], where: Path) -> None:
    """Refuse ``load_best_model_at_end`` where an evaluated step may have no checkpoint.

    Raises:
        UserError: the strategies differ, or ``save_steps`` is no multiple of ``eval_steps``.
    """
    if not recipe.get("load_best_model_at_end"):
        return
    evaluated, saved = (str(recipe.get(key) or default) for key, default, _, _ in _INTERVALS)
    if evaluated != saved:
        raise UserError(
            f"{where}: load_best_model_at_end compares checkpoints by evaluations: eval_strategy is {evaluated} and "
            f"save_strategy {saved}; make them the same"
        )
    every, save = (_interval(recipe, key) for key in ("eval_steps", "save_steps"))
    if evaluated == "steps" and every >= 1 and save >= 1 and save % every:
        raise UserError(
            f"{where}: load_best_model_at_end needs save_steps as a multiple of eval_steps, and they are {save:g} and "
            f"{every:g}; set save_steps={max(round(save / every), 1) * every:g}"
        )


def warn_about_steps(recipe: Mapping[str, Any], steps: int | None) -> None:
    """Log a warning where the training ends before its first evaluation or checkpoint; ``steps`` are those of all its epochs."""
    for strategy, default, key, does in _INTERVALS:
        every = _interval(recipe, key)
        if steps and str(recipe.get(strategy) or default) == "steps" and every > steps:
            logger.warning(
                "this training has %d steps and never %s before its end, for %s is %g; set %s=%d or less",
                *(steps, does, key, every, key, steps),
            )


def _interval(recipe: Mapping[str, Any], key: str) -> float:
    """Steps between two evaluations or checkpoints, with transformers' defaults; below 1 a share of all steps."""
    if key == "eval_steps" and recipe.get(key) is None:
        key = "logging_steps"
    return float(recipe.get(key) or 500)
