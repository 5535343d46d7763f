"""Validate a recipe, then launch or resume its training with llamafactory-cli; a finished run is left alone.

llamafactory-cli is started through :mod:`text2sql.llamafactory`, which adds our stages and logs the layout of processes.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path

import yaml

from text2sql.artifacts import only_one, write_text
from text2sql.checkpoint.model import fingerprint
from text2sql.errors import UserError, run_command
from text2sql.llamafactory import COMMAND, check_stage, find_stage
from text2sql.llamafactory.arguments import check_arguments, check_template, known_arguments
from text2sql.plan.estimate import estimate
from text2sql.plan.layout import gpu_count
from text2sql.recipe import Recipe, load_recipe
from text2sql.recipe.batch import derive_accumulation
from text2sql.recipe.command import Overrides, RecipePath, single
from text2sql.recipe.keys import OWN, check_sizes, deepspeed_settings
from text2sql.recipe.megatron import check_keys, is_megatron
from text2sql.train import preflight
from text2sql.train.launch import environment, run_llamafactory
from text2sql.train.machine import check_attention, check_memory, fit_device
from text2sql.train.performance import write_page
from text2sql.train.processes import Processes, check_port, check_processes, read_processes, wait_for_first
from text2sql.train.runs import Run, begin, finish, identify, is_done, plan_run
from text2sql.train.schedule import check_best_model, warn_about_steps

logger = logging.getLogger("text2sql.train")


def train(where: RecipePath, overrides: Overrides = None) -> None:
    """Train by a recipe with llamafactory-cli: from the start, from the last whole checkpoint, or not at all when done."""
    train_recipe(load_recipe(where, overrides or []), where)


def train_recipe(recipe: Recipe, where: Path) -> None:
    """As the command does; ``where`` is the recipe's file, which messages name.

    Raises:
        UserError: the recipe cannot work here, or training failed.
    """
    megatron = is_megatron(recipe, os.environ, where)
    if megatron:
        from text2sql.train.megatron import check_packages

        check_keys(recipe, where)
        check_packages(recipe, where)
    base = preflight.model_folder(recipe, where)
    data = preflight.data_hashes(recipe, where)
    output_dir = preflight.check_output(recipe, where, base)
    this = identify(recipe, data, fingerprint(base) if base else str(recipe["model_name_or_path"]))
    if not recipe.get("overwrite_output_dir") and is_done(output_dir, this):
        logger.info("already trained: %s (overwrite_output_dir=true trains it again)", output_dir)
        return
    preflight.check_adapters(recipe, base)
    preflight.check_targets(recipe, where, base)
    preflight.check_resume(recipe)
    check_attention(recipe, where)
    recipe, added, processes = _fit(recipe, where, base, megatron)
    preflight.check_disk(recipe, output_dir, base)
    if processes.node:
        wait_for_first(processes)
        _join(output_dir, added, processes.node)
        return
    check_port(processes)
    with only_one(output_dir) as lock:
        _lead(recipe, replace(this, processes=processes.total), output_dir, added, lock)


def _fit(recipe: Recipe, where: Path, base: Path | None, megatron: bool) -> tuple[Recipe, dict[str, str], Processes]:
    """The recipe as this machine can run it, what it adds to the environment, and the processes that will train.

    Raises:
        UserError: a key or value that the trainer does not know, or a recipe that does not fit machine and processes.
    """
    gpus = gpu_count()
    known = known_arguments("megatron" if megatron else "train", ours=find_stage(recipe) is not None)
    recipe = check_arguments(recipe, known | OWN, where)
    check_sizes(recipe, where)
    check_template(recipe, where)
    check_best_model(recipe, where)
    recipe, note = fit_device(recipe, where, gpus)
    if note:
        logger.info("%s", note)
    settings = deepspeed_settings(recipe, where)
    added = environment(recipe, gpus, os.environ, settings) | ({"USE_MCA": "1"} if megatron else {})
    processes = read_processes(gpus, {**os.environ, **added})
    ours, recipe = recipe, derive_accumulation(recipe, where, processes.total)
    check_processes(recipe, settings, where, base, processes, gpus)
    if megatron:
        from text2sql.train.megatron import check_machine

        warn_about_steps(recipe, check_machine(ours, where, processes.total, gpus).batch.steps)
    else:
        _check_plan(ours, where, processes.total, gpus)
    check_stage(recipe, where, processes.total, gpus)
    return {key: value for key, value in recipe.items() if key not in OWN}, added, processes


def _check_plan(recipe: Recipe, where: Path, processes: int, gpus: int) -> None:
    """Compare the estimate with the machine and with the recipe's intervals; other models than the planner's train, too."""
    try:
        result = estimate(recipe, where, processes)
    except UserError as error:
        logger.warning("neither memory nor number of steps was estimated: %s", error)
        return
    warn_about_steps(recipe, result.batch.steps)
    if gpus and not recipe.get("use_cpu"):
        check_memory(result, recipe, where, processes)


def _join(output_dir: Path, added: dict[str, str], node: int) -> None:
    """Train as another machine than the first one, which has written the recipe."""
    path = output_dir / "recipe.yaml"
    if not path.is_file():
        raise UserError(f"{path} is missing here; output_dir must be a folder that all machines share")
    run_llamafactory(["train", str(path)], added, output_dir / f"train.{node}.log", program=COMMAND)


def _lead(recipe: Recipe, run: Run, output_dir: Path, added: dict[str, str], lock: int) -> None:
    """Train as the first or only machine, from where the output folder says."""
    plan = plan_run(output_dir, run, overwrite=bool(recipe.get("overwrite_output_dir")))
    for path in plan.broken:
        logger.info("%s was never finished; leaving it out", path)
    effective = {key: value for key, value in recipe.items() if key != "overwrite_output_dir"}
    if plan.checkpoint is not None:
        logger.info("resuming from %s", plan.checkpoint)
        # Restores the callbacks too: early stopping would otherwise count evaluations without progress from zero.
        effective |= {"resume_from_checkpoint": str(plan.checkpoint), "restore_callback_states_from_checkpoint": True}
        if recipe.get("stage") == "rm":  # else LLaMA-Factory goes on with a new adapter and a new value head
            effective |= {"adapter_name_or_path": str(plan.checkpoint)}
    begin(output_dir, run, plan)
    path = output_dir / "recipe.yaml"
    write_text(path, yaml.safe_dump(effective, sort_keys=False, allow_unicode=True))
    try:
        run_llamafactory(["train", str(path)], added, output_dir / "train.log", lock, COMMAND)
    except KeyboardInterrupt:
        logger.info("stopped; the same command continues from the last checkpoint in %s", output_dir)
        raise
    if not (output_dir / "trainer_state.json").is_file():
        raise UserError(f"{output_dir}: the trainer ended without its final state; see {output_dir / 'train.log'}")
    logger.info("trained %d steps: %s", finish(output_dir, run), output_dir)
    if page := write_page(output_dir):
        logger.info("performance: %s", page)


if __name__ == "__main__":
    run_command(single(train))
