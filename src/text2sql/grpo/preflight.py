"""Refuse a GRPO recipe that cannot work before a model is loaded: its rewards, rows, databases and batches."""

import importlib.metadata
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.grpo.hparams import GRPOArguments, read_arguments
from text2sql.grpo.scoring import open_rewards
from text2sql.llamafactory.questions import METRICS, REQUIRED, check_rows
from text2sql.prompts import check_system
from text2sql.recipe.keys import data_files

logger = logging.getLogger(__name__)
_VLLM, _VLLM_SERIES, _VLLM_MODES = "0.10.2 to 0.11", ("0.10.2", "0.11."), ("server", "colocate")
_METRICS = (*METRICS, "reward", "completion_length", "clipped_ratio")


def check(recipe: Mapping[str, Any], where: Path, processes: int, gpus: int) -> None:
    """Refuse a recipe that cannot work; ``processes`` counts those of all machines, ``gpus`` the GPUs here.

    Raises:
        UserError: names the key, the reward or the row.
    """
    ours = read_arguments(recipe)
    with open_rewards(ours) as suite:
        protocol = suite.context.protocol
    _check_evaluation(recipe, where, ours.database_root)
    _check_batch(recipe, where, processes)
    if ours.answer_format == "process" and recipe.get("enable_thinking", True) is False:
        raise UserError(f"{where}: answer_format process starts with <think>; set enable_thinking=true")
    if recipe.get("use_vllm"):
        _check_vllm(recipe, where, gpus)
    if recipe.get("use_ray"):
        raise UserError(f"{where}: GRPO is started by torchrun, not by Ray; remove use_ray")
    known = _check_rows(recipe, where, ours)
    if ours.database_root is not None:
        _say_luck(known, ours.database_root, protocol)


def _say_luck(databases: set[str], root: Path, protocol: str) -> None:
    """Say how many databases have one instance only, on which a wrong query may be right."""
    alone = [db_id for db_id in databases if len(list((root / db_id).glob("*.sqlite"))) < 2]
    if alone or not protocol.startswith("spider-test-suite"):
        count = len(alone) if protocol.startswith("spider-test-suite") else len(databases)
        logger.warning(
            "rewards look at one instance of %d of %d databases, where a constant or a lucky query earns as much as a right "
            "one; suites in the data recipe builds more (recipes/data/spider.yaml), database_root names their folder",
            count,
            len(databases),
        )


def _check_vllm(recipe: Mapping[str, Any], where: Path, gpus: int) -> None:
    if recipe.get("vllm_mode", "server") not in _VLLM_MODES:
        raise UserError(f"{where}: vllm_mode: {' or '.join(_VLLM_MODES)}, not {recipe['vllm_mode']!r}")
    try:
        version = importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"{where}: use_vllm needs vLLM {_VLLM} in the training environment, and there is none; make one for GPUs with "
            "`TEXT2SQL_DEVICE=cuda bash scripts/setup.sh train`, or set use_vllm=false"
        ) from None
    if not version.startswith(_VLLM_SERIES):
        raise UserError(f"{where}: use_vllm: TRL knows vLLM {_VLLM}, here is {version}; set use_vllm=false")
    if not gpus:
        raise UserError(f"{where}: use_vllm: rollouts by vLLM need a GPU, and torch sees none; set use_vllm=false")


def _check_evaluation(recipe: Mapping[str, Any], where: Path, root: Path | None) -> None:
    if recipe.get("eval_examples"):
        raise UserError(f"{where}: eval_examples: GRPO answers the questions of eval_dataset; remove the key")
    if str(recipe.get("eval_strategy") or "no") != "no" and root is None:
        raise UserError(f"{where}: database_root: held-out accuracy executes SQL; set it to the folder of databases")
    if recipe.get("load_best_model_at_end") or recipe.get("early_stopping_steps"):
        metric = str(recipe.get("metric_for_best_model", "loss")).removeprefix("eval_")
        if metric not in _METRICS:
            raise UserError(f"{where}: metric_for_best_model: one of {', '.join(_METRICS)} for GRPO, not {metric!r}")


def _check_batch(recipe: Mapping[str, Any], where: Path, processes: int) -> None:
    size = int(recipe.get("per_device_train_batch_size") or 8)
    accumulated = int(recipe.get("gradient_accumulation_steps") or 1)
    group = int(recipe.get("num_generations") or 8)
    steps = int(recipe.get("steps_per_generation") or accumulated)
    batch = int(recipe.get("generation_batch_size") or size * processes * steps)
    if batch % group:
        raise UserError(
            f"{where}: {batch} completions a generation ({size} x {steps} steps x {processes} processes) do not make whole "
            f"groups of num_generations={group}; choose per_device_train_batch_size so that they do"
        )
    reuse = (batch // (size * processes)) * int(recipe.get("num_iterations") or 1)
    every = -(-reuse // accumulated)
    if every > 1 and int(recipe.get("save_steps") or 0) % every:
        raise UserError(
            f"{where}: completions are used for {every} steps, so save_steps={recipe.get('save_steps')} would lose some when "
            f"a run goes on from a checkpoint; make it a multiple of {every}"
        )


def _check_rows(recipe: Mapping[str, Any], where: Path, ours: GRPOArguments) -> set[str]:
    """Each row of the JSON Lines files is an example whose database is there; other files are read when they are loaded.

    Returns the databases' names.
    """
    known: set[str] = set()
    for name, path in data_files(recipe, where):
        if path.suffix != ".jsonl" or not path.is_file():
            continue
        check_system(ours.system_prompt, path)
        try:
            known |= check_rows(path, ours.database_root)
        except UserError as error:
            hint = ", or name a data set of examples, for example toy_train_grpo" if ": missing " in str(error) else ""
            raise UserError(f"{error} (data set {name!r}; GRPO needs {', '.join(REQUIRED)}{hint})") from error
    return known
