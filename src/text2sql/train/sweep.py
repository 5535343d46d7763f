"""Trains a recipe with every combination of the values given for its keys, one after another, and ranks the runs.

Each combination is a run of ``text2sql train`` in a folder of its own, so a stopped sweep goes on where it was, and further
values only add runs.
"""

import csv
import io
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from text2sql.artifacts import write_json, write_text
from text2sql.checkpoint.model import RUN
from text2sql.errors import UserError
from text2sql.recipe import Recipe, load_recipe
from text2sql.recipe.command import Overrides, RecipePath
from text2sql.recipe.keys import evaluates
from text2sql.train.__main__ import train_recipe

logger = logging.getLogger("text2sql.train.sweep")
Row = dict[str, Any]
_BETWEEN_VALUES = re.compile(r",(?![^\[{]*[\]}])")  # not within the brackets of one value that is a list
_TABLE = "sweep"


def sweep(where: RecipePath, overrides: Overrides = None) -> None:
    """Train a recipe with each combination of key=a,b,... and rank the runs; a stopped sweep goes on."""
    fixed, axes = read_grid(overrides or [])
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    folders = [folder_name(values) for values in combinations]
    if twice := [name for name, count in Counter(folders).items() if count > 1]:
        raise UserError(f"{twice[0]}: two combinations would have this folder; leave one of their values out")
    recipes = [load_recipe(where, [*fixed, *(f"{k}={v}" for k, v in values.items())]) for values in combinations]
    metric, _ = _metric(recipes[0])
    if not evaluates(recipes[0]):
        raise UserError(
            f"{where}: runs are ranked by {metric}, and this recipe never evaluates; set eval_strategy=steps"
        )
    if not recipes[0].get("output_dir"):
        raise UserError(f"{where}: output_dir is missing, for example output_dir=outputs/tiny/my_sweep")
    root = Path(str(recipes[0]["output_dir"]))
    rows: list[Row] = []
    for number, (values, name, recipe) in enumerate(zip(combinations, folders, recipes, strict=True), 1):
        logger.info("run %d of %d: %s", number, len(combinations), " ".join(f"{k}={v}" for k, v in values.items()))
        rows.append(values | _train(recipe | {"output_dir": str(root / name)}, where))
        rows.sort(key=lambda row: _rank(row, recipes[0]))
        _write(root, rows)
    _show(rows, metric)
    logger.info("table: %s and .json", root / f"{_TABLE}.csv")
    if failed := [row for row in rows if row["error"]]:
        raise UserError(f"{len(failed)} of {len(rows)} runs failed, {failed[0]['output_dir']}: {failed[0]['error']}")


def read_grid(overrides: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The overrides that all runs share, and the keys with several values; ``key=[a,b]`` is one value that is a list.

    Raises:
        UserError: no key has several values, one is given twice, or a value is empty.
    """
    fixed: list[str] = []
    axes: dict[str, list[str]] = {}
    for override in overrides:
        key, _, text = override.partition("=")
        values = _BETWEEN_VALUES.split(text)
        if len(values) == 1:
            fixed.append(override)
            continue
        if key == "output_dir" or key in axes or "" in values:
            raise UserError(f"{override!r}: each key once, without empty values, and output_dir has one value")
        axes[key] = list(dict.fromkeys(values))
    if not axes:
        raise UserError("nothing varies; give a key several values, for example learning_rate=1e-4,2e-4")
    if both := axes.keys() & {override.partition("=")[0] for override in fixed}:
        raise UserError(f"{min(both)} is given twice; write its values with commas")
    return fixed, axes


def folder_name(values: Mapping[str, str]) -> str:
    """A combination as the name of a folder: ``learning_rate-1e-4_seed-1``."""
    return "_".join(re.sub(r"[^\w.+-]+", "-", f"{key}-{value.strip('[]{} ')}") for key, value in values.items())


def _metric(recipe: Recipe) -> tuple[str, bool]:
    """The metric that ranks runs, and whether more of it is better; with transformers' defaults."""
    name = f"eval_{str(recipe.get('metric_for_best_model') or 'loss').removeprefix('eval_')}"
    greater = recipe.get("greater_is_better")
    return name, not name.endswith("loss") if greater is None else bool(greater)


def _train(recipe: Recipe, where: Path) -> Row:
    """Train, and read the best evaluation of the run; what fails in training does not keep the other runs waiting."""
    folder, metric = Path(recipe["output_dir"]), _metric(recipe)[0]
    row: Row = {metric: None, "step": None, "error": "", "output_dir": str(folder)}
    try:
        train_recipe(recipe, where)
    except UserError as error:
        if not (folder / RUN).is_file():  # refused before the start, as all others would be
            raise
        logger.warning("%s", error)
        return row | {"error": str(error)}
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    found = [entry for entry in state["log_history"] if metric in entry]
    if not found:
        raise UserError(f"{folder}: no evaluation has {metric}; name another metric_for_best_model")
    best = min(found, key=lambda entry: _rank(entry, recipe))
    return row | {metric: best[metric], "step": best["step"]}


def _rank(row: Mapping[str, Any], recipe: Recipe) -> float:
    """What sorts the best first, and what has no number last."""
    name, greater = _metric(recipe)
    value = row[name]
    if value is None or math.isnan(value):
        return math.inf
    return -value if greater else float(value)


def _write(root: Path, rows: list[Row]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(root / f"{_TABLE}.csv", text.getvalue())
    write_json(root / f"{_TABLE}.json", rows)


def _show(rows: list[Row], metric: str) -> None:
    table = Table(title=f"best first, by {metric}", title_justify="left")
    heads = [head for head in rows[0] if head not in ("error", "output_dir")]
    for head in heads:
        table.add_column(head, justify="right" if head in (metric, "step") else "left", overflow="fold")
    for row in rows:
        cells = row | {metric: "failed" if row["error"] else f"{row[metric]:.4f}"}
        table.add_row(*(str(cells[head] if cells[head] is not None else "") for head in heads))
    Console().print(table)
