"""Decides by what an output folder holds: leave the run alone, start it, or resume it from the last whole checkpoint.

``run.json`` in the folder says what is trained there, and whether it is done. A run is identified by its effective recipe
and by the contents of its data and base, so that a run with other ones is never taken for finished.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from text2sql.artifacts import is_current, read_note, remove, write_note, write_text
from text2sql.checkpoint.model import RUN
from text2sql.checkpoint.run import find_checkpoints, step_of
from text2sql.errors import UserError

# Keys that change what is logged or how fast training is, but not the model.
_FREE = frozenset(
    "overwrite_output_dir overwrite_cache preprocessing_num_workers dataloader_num_workers report_to run_name plot_loss "
    "logging_dir disable_tqdm log_level save_total_limit resume_from_checkpoint dataset_dir check_memory".split()
)
_PRODUCTS = (
    "checkpoint-* runs adapter_config.json adapter_model.* model*.safetensors pytorch_model* config.json trainer_log.jsonl "
    "generation_config.json all_results.json train_results.json eval_results.json trainer_state.json training_args.bin "
    "value_head.* *.png *tokenizer* special_tokens_map.json added_tokens.json vocab.json merges.txt chat_template.jinja "
    "performance.jsonl performance.html README.md run.json recipe.yaml train.log latest zero_to_fp32.py global_step* iter_* "
    "latest_checkpointed_iteration.txt mca_config.json"
).split()


@dataclass(frozen=True)
class Run:
    """What is trained: the recipe without :data:`_FREE` keys, digests of the data files, digest of the base.

    Checkpoints hold a part of the state for each of ``processes``, so only as many can resume it.
    """

    recipe: dict[str, Any]
    data: dict[str, str]
    base: str
    status: Literal["running", "done"] = "running"
    steps: int = 0
    processes: int = 1

    @property
    def made_of(self) -> dict[str, Any]:
        """What identifies the run."""
        return {"recipe": self.recipe, "data": self.data, "base": self.base}


@dataclass(frozen=True)
class Plan:
    """The checkpoint to resume from (None: start), and checkpoints that were never finished."""

    checkpoint: Path | None = None
    broken: list[Path] = field(default_factory=list)


def identify(recipe: dict[str, Any], data: dict[str, str], base: str) -> Run:
    """The run that ``recipe`` describes."""
    return Run({key: value for key, value in recipe.items() if key not in _FREE}, data, base)


def is_done(output_dir: Path, run: Run) -> bool:
    """True when exactly this run ended in ``output_dir`` and its model is still there."""
    before = _read(output_dir)
    model = [*output_dir.glob("*.safetensors"), *output_dir.glob("iter_*/mp_rank_*")]
    return before is not None and before.status == "done" and bool(model) and is_current(output_dir / RUN, run.made_of)


def plan_run(output_dir: Path, run: Run, overwrite: bool) -> Plan:
    """Decide from what ``output_dir`` holds.

    Raises:
        UserError: it holds another run, or a model that this command did not write.
    """
    ours = (output_dir / RUN).is_file() or (overwrite and (output_dir / "training_args.bin").is_file())
    if not ours and any(found for pattern in _PRODUCTS for found in output_dir.glob(pattern)):
        raise UserError(f"{output_dir} holds files that this command did not write; choose another output_dir")
    before = None if overwrite else _read(output_dir)
    if before is None or _never_stepped(output_dir, before):
        return Plan()
    _refuse_another(output_dir, before, run)
    whole, broken = find_checkpoints(output_dir)
    if whole and before.processes != run.processes:
        raise UserError(
            f"{output_dir}: {whole[-1].name} is of a run of {before.processes} processes, this start has {run.processes}; "
            f"start as many (NPROC_PER_NODE x NNODES), {_WAY_OUT}"
        )
    return Plan(whole[-1] if whole else None, broken)


def _never_stepped(output_dir: Path, before: Run) -> bool:
    """True for a run that failed before it trained anything, which any other may replace."""
    kept = any(found for pattern in ("checkpoint-*", "*.safetensors", "iter_*") for found in output_dir.glob(pattern))
    logged = any(step for step, _ in _steps(output_dir / "trainer_log.jsonl"))
    return before.status == "running" and not kept and not logged


def _steps(log: Path) -> Iterator[tuple[int, str]]:
    """Step and text of the lines of a training log; one that a kill has cut off is left out."""
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        try:
            yield int(json.loads(line).get("current_steps", 0)), line
        except ValueError:
            continue


_WAY_OUT = "choose another output_dir, or overwrite_output_dir=true to remove it and start over"


def _refuse_another(output_dir: Path, before: Run, run: Run) -> None:
    kind, wanted = (f"{r.recipe.get('finetuning_type', 'lora')} {r.recipe.get('stage', 'sft')}" for r in (before, run))
    if kind != wanted:
        raise UserError(f"{output_dir} holds a {kind} run, this recipe is a {wanted} run; {_WAY_OUT}")
    keys = sorted(k for k in before.recipe | run.recipe if before.recipe.get(k) != run.recipe.get(k))
    if keys:
        changes = ", ".join(f"{key} {before.recipe.get(key)!r} -> {run.recipe.get(key)!r}" for key in keys[:4])
        raise UserError(f"{output_dir} holds a run of a different recipe ({changes}); {_WAY_OUT}")
    for what, old, new in (("data have", before.data, run.data), ("base model has", before.base, run.base)):
        if old != new:
            raise UserError(f"{output_dir}: the {what} changed since that run began; {_WAY_OUT}")


def begin(output_dir: Path, run: Run, plan: Plan) -> None:
    """Remove what an earlier start left and the plan does not resume from, and write ``run.json``."""
    if plan.checkpoint is None:
        for pattern in _PRODUCTS:
            for path in output_dir.glob(pattern):
                remove(path)
    for path in plan.broken:
        remove(path)
    output_dir.mkdir(parents=True, exist_ok=True)
    if plan.checkpoint is not None:
        _cut_log(output_dir / "trainer_log.jsonl", step_of(plan.checkpoint))
    _write(output_dir, run)


def finish(output_dir: Path, run: Run) -> int:
    """Mark the run as done; returns the number of steps it took."""
    state = json.loads((output_dir / "trainer_state.json").read_text(encoding="utf-8"))
    steps = int(state["global_step"])
    _write(output_dir, replace(run, status="done", steps=steps))
    return steps


def _cut_log(log: Path, step: int) -> None:
    """Remove what a killed process logged after ``step``, which will be trained and logged again."""
    if log.is_file():
        write_text(log, "".join(f"{line}\n" for found, line in _steps(log) if found <= step))


def _read(output_dir: Path) -> Run | None:
    path = output_dir / RUN
    if not path.is_file():
        return None
    note = read_note(path) or {}
    try:
        return Run(**note.pop("made_of", {}), **note)
    except TypeError:
        raise UserError(f"{path} was written by an older version, or is damaged; {_WAY_OUT}") from None


def _write(output_dir: Path, run: Run) -> None:
    write_note(output_dir / RUN, run.made_of, status=run.status, steps=run.steps, processes=run.processes)
