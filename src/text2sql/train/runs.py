"""What an output folder holds, and what to do with it: nothing, start, or resume from the last whole checkpoint.

``run.json`` in the folder says what is being trained there, and that it is done once it is. A run is identified by its
effective recipe and by the contents of its data and base, so that a changed one is never taken for finished.
"""

import json
import os
import shutil
import zipfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from text2sql.errors import UserError
from text2sql.weights import read_shapes

# Keys that change what is printed or how fast it goes, not what is learnt.
_FREE = frozenset(
    "overwrite_output_dir overwrite_cache preprocessing_num_workers dataloader_num_workers report_to run_name plot_loss "
    "logging_dir disable_tqdm log_level save_total_limit resume_from_checkpoint dataset_dir".split()
)
_PRODUCTS = (
    "checkpoint-* runs adapter_config.json adapter_model.* model*.safetensors pytorch_model* config.json trainer_log.jsonl "
    "generation_config.json all_results.json train_results.json eval_results.json trainer_state.json training_args.bin "
    "value_head.* *.png *tokenizer* special_tokens_map.json added_tokens.json vocab.json merges.txt chat_template.jinja "
    "README.md run.json recipe.yaml train.log latest zero_to_fp32.py global_step* iter_* "
    "latest_checkpointed_iteration.txt mca_config.json"
).split()


@dataclass(frozen=True)
class Run:
    """What is trained: the effective recipe without :data:`_FREE` keys, hashes of the data files, hash of the base.

    ``processes`` share a step's batch and the state in checkpoints, so only as many can go on.
    """

    recipe: dict[str, Any]
    data: dict[str, str]
    base: str
    status: Literal["running", "done"] = "running"
    steps: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Plan:
    """What to do: ``checkpoint`` is where to resume from; ``broken`` are checkpoints that were never finished."""

    action: Literal["start", "resume"]
    checkpoint: Path | None = None
    broken: list[Path] = field(default_factory=list)


def identify(recipe: dict[str, Any], data: dict[str, str], base: str) -> Run:
    """The run that ``recipe`` describes."""
    return Run({key: value for key, value in recipe.items() if key not in _FREE}, data, base)


def is_done(output_dir: Path, run: Run) -> bool:
    """True when exactly this run ended in ``output_dir`` and its model is still there."""
    before = _read(output_dir)
    same = before is not None and (before.recipe, before.data, before.base) == (run.recipe, run.data, run.base)
    model = [*output_dir.glob("*.safetensors"), *output_dir.glob("iter_*/mp_rank_*")]
    return same and before.status == "done" and bool(model)  # type: ignore[union-attr]


def plan_run(output_dir: Path, run: Run, overwrite: bool) -> Plan:
    """Decide from what ``output_dir`` holds.

    Raises:
        UserError: it holds another run, or a model that this command did not write.
    """
    before = _read(output_dir)
    foreign = before is None and any(found for pattern in _PRODUCTS for found in output_dir.glob(pattern))
    if foreign and not (overwrite and (output_dir / "training_args.bin").is_file()):
        raise UserError(f"{output_dir} holds files that this command did not write; choose another output_dir")
    if overwrite or before is None:
        return Plan("start")
    _refuse_another(output_dir, before, run)
    whole, broken = find_checkpoints(output_dir)
    if whole and before.processes != run.processes:
        raise UserError(
            f"{output_dir}: {whole[-1].name} is of a run of {before.processes} processes, this start has {run.processes}; "
            f"start as many (NPROC_PER_NODE x NNODES), {_WAY_OUT}"
        )
    return Plan("resume", whole[-1], broken) if whole else Plan("start", broken=broken)


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


def find_checkpoints(output_dir: Path) -> tuple[list[Path], list[Path]]:
    """The whole checkpoints in a run's folder, the last one last, and those that were never finished.

    Raises:
        UserError: ``run.json`` cannot be read.
    """
    run = _read(output_dir)
    found = sorted(output_dir.glob("checkpoint-*"), key=_step)
    whole = [path for path in found if is_whole(path, run.processes if run else 1)]
    return whole, [path for path in found if path not in whole]


def is_whole(checkpoint: Path, processes: int = 1) -> bool:
    """True when training by as many ``processes`` can go on from it.

    The state is there, which the first process writes last; each process has left its own part; and nothing is cut.
    """
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        weights = list(checkpoint.glob("*.safetensors"))
        for path in weights:
            read_shapes(path)
        if any(checkpoint.glob("iter_*")):
            _check_megatron(checkpoint)
    except (OSError, ValueError, UserError):
        return False
    found = weights or list(checkpoint.glob("*.bin")) or list(checkpoint.glob("global_step*"))
    return bool(found) and state.get("global_step") == _step(checkpoint) and _has_all_parts(checkpoint, processes)


def _check_megatron(checkpoint: Path) -> None:
    from text2sql.megatron.checkpoint import find_checkpoint  # imports torch

    find_checkpoint(checkpoint)


def _has_all_parts(checkpoint: Path, processes: int) -> bool:
    """True when every process's random state and DeepSpeed partition are there; without either only weights were saved."""
    files = [
        path
        for kind in ("*.pth", "optimizer.pt", "global_step*/*.pt", "iter_*/*/*.pt")
        for path in checkpoint.glob(kind)
    ]
    states = [path for path in files if path.name.startswith("rng_state")]
    if states and len(states) < processes:
        return False
    if list(checkpoint.glob("global_step*")):
        latest = checkpoint / "latest"
        named = checkpoint / latest.read_text(encoding="utf-8").strip() if latest.is_file() else None
        if named is None or len(list(named.glob("*_optim_states.pt"))) != processes:
            return False
    return all(zipfile.is_zipfile(path) for path in files)  # torch's format, whose directory is at the end


def begin(output_dir: Path, run: Run, plan: Plan) -> None:
    """Make the folder fit the plan: remove what must not be trusted, and write down what is being trained."""
    if plan.action == "start":
        for pattern in _PRODUCTS:
            for path in output_dir.glob(pattern):
                _remove(path)
    for path in plan.broken:
        _remove(path)
    output_dir.mkdir(parents=True, exist_ok=True)
    if plan.checkpoint is not None:
        _cut_log(output_dir / "trainer_log.jsonl", _step(plan.checkpoint))
    _write(output_dir, run)


def finish(output_dir: Path, run: Run) -> int:
    """Mark the run as done; returns the number of steps it took."""
    state = json.loads((output_dir / "trainer_state.json").read_text(encoding="utf-8"))
    steps = int(state["global_step"])
    _write(output_dir, replace(run, status="done", steps=steps))
    return steps


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else -1


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _cut_log(log: Path, step: int) -> None:
    """Drop what the killed process logged after ``step``: it will be trained, and logged, again."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line).get("current_steps", 0) <= step:
                kept.append(line + "\n")
        except ValueError:
            continue  # cut off by the kill
    partial = log.with_name(log.name + ".partial")
    partial.write_text("".join(kept), encoding="utf-8")
    partial.replace(log)


def _read(output_dir: Path) -> Run | None:
    path = output_dir / "run.json"
    if not path.is_file():
        return None
    try:
        return Run(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); {_WAY_OUT}") from error


def _write(output_dir: Path, run: Run) -> None:
    partial = output_dir / "run.json.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump(asdict(run), file, ensure_ascii=False, indent=1, default=str)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(output_dir / "run.json")
