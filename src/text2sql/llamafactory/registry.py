"""Our stages by name, and their registration with LLaMA-Factory.

Two of its objects are changed: the lists of classes that it parses recipes with, and the function that chooses a stage's
workflow. A stage's modules are imported when they are needed, because TRL alone takes seconds.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "text2sql.llamafactory"]


@dataclass(frozen=True)
class Stage:
    """A stage's name and its package.

    The package has ``hparams.extend(arguments)``, which returns LLaMA-Factory's class of fine-tuning arguments with the
    stage and its keys added; ``preflight.check(recipe, where, processes, gpus)``, which finds mistakes before anything is
    loaded; and ``workflow.run(...)``, which trains.
    """

    name: str
    package: str

    def extend(self, arguments: type[Any]) -> type[Any]:
        """LLaMA-Factory's fine-tuning arguments with those of this stage."""
        kind: type[Any] = importlib.import_module(f"{self.package}.hparams").extend(arguments)
        return kind

    def check(self, recipe: Mapping[str, Any], where: Path, processes: int, gpus: int) -> None:
        """Refuse a recipe that cannot work; ``processes`` counts those of all machines, ``gpus`` the GPUs here.

        Raises:
            UserError: names what is wrong, and where.
        """
        importlib.import_module(f"{self.package}.preflight").check(recipe, where, processes, gpus)

    def run(self, *arguments: Any) -> None:
        """Train; see the workflow's ``run``."""
        importlib.import_module(f"{self.package}.workflow").run(*arguments)


STAGES = {"grpo": Stage("grpo", "text2sql.grpo")}


def find_stage(recipe: Mapping[str, Any]) -> Stage | None:
    """Our stage of a recipe; None for one of LLaMA-Factory's own."""
    return STAGES.get(str(recipe.get("stage", "sft")))


def argument_classes(classes: Sequence[type[Any]]) -> list[type[Any]]:
    """LLaMA-Factory's argument classes, the one for fine-tuning extended by all our stages."""
    from llamafactory.hparams import FinetuningArguments

    wider: type[Any] = FinetuningArguments
    for stage in STAGES.values():
        wider = stage.extend(wider)
    return [wider if kind is FinetuningArguments else kind for kind in classes]


def register() -> None:
    """Add our stages to LLaMA-Factory in this process; a second call changes nothing."""
    from llamafactory.hparams import parser
    from llamafactory.train import tuner

    for name in ("_TRAIN_ARGS", "_INFER_ARGS", "_EVAL_ARGS", "_TRAIN_MCA_ARGS"):
        classes = getattr(parser, name)
        classes[:] = argument_classes(classes)
    if not hasattr(tuner._training_function, "knows_our_stages"):
        tuner._training_function = _dispatching(tuner._training_function)


def _dispatching(theirs: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def train(config: dict[str, Any]) -> None:
        from text2sql.llamafactory.layout import LayoutCallback
        from text2sql.llamafactory.resume import keep_order

        keep_order()
        given = config["args"]
        config["callbacks"].append(LayoutCallback())
        stage = find_stage(given) if isinstance(given, dict) else None
        if stage is None:
            theirs(config)
        else:
            _train(stage, given, config["callbacks"])

    train.knows_our_stages = True  # type: ignore[attr-defined]
    return train


def _train(stage: Stage, given: dict[str, Any], callbacks: list[Any]) -> None:
    """Do what LLaMA-Factory does for a stage of its own: parse, collect callbacks, run, destroy the process group."""
    import torch.distributed as dist
    from llamafactory.hparams import get_train_args
    from llamafactory.train.callbacks import LogCallback, PissaConvertCallback, ReporterCallback
    from llamafactory.train.trainer_utils import get_swanlab_callback
    from transformers import EarlyStoppingCallback

    model, data, training, finetuning, generating = get_train_args(given)
    callbacks.append(LogCallback())
    if finetuning.pissa_convert:
        callbacks.append(PissaConvertCallback())
    if finetuning.use_swanlab:
        callbacks.append(get_swanlab_callback(finetuning))
    if finetuning.early_stopping_steps is not None:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=finetuning.early_stopping_steps))
    callbacks.append(ReporterCallback(model, data, finetuning, generating))
    stage.run(model, data, training, finetuning, given, callbacks)
    if dist.is_initialized():
        dist.destroy_process_group()
