"""Our stages by name, and their registration with LLaMA-Factory.

Few of its objects are changed: the lists of classes that it parses recipes with, the function that chooses a stage's workflow,
the trainer of supervised fine-tuning for recipes with ``eval_examples``, and the value head of reward models. A stage's modules
are imported when they are needed, because TRL alone takes seconds.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from text2sql.llamafactory import questions

COMMAND = [sys.executable, "-m", "text2sql.llamafactory"]


STAGES = {"grpo": "text2sql.grpo"}
"""The packages of our stages.

Each has ``hparams.extend(arguments)``, which returns LLaMA-Factory's class of fine-tuning arguments with the stage and its
keys added; ``preflight.check(recipe, where, processes, gpus)``, which finds mistakes before anything is loaded; and
``workflow.run(...)``, which trains.
"""


def find_stage(recipe: Mapping[str, Any]) -> str | None:
    """The package of a recipe's stage; None for a stage of LLaMA-Factory's own."""
    return STAGES.get(str(recipe.get("stage", "sft")))


def check_stage(recipe: Mapping[str, Any], where: Path, processes: int, gpus: int) -> None:
    """Check what is ours in a recipe; ``processes`` counts those of all machines, ``gpus`` the GPUs here.

    Raises:
        UserError: the recipe cannot work; names what is wrong, and where.
    """
    if package := find_stage(recipe):
        import_module(f"{package}.preflight").check(recipe, where, processes, gpus)
    else:
        questions.check(recipe, where)


def argument_classes(classes: Sequence[type[Any]]) -> list[type[Any]]:
    """LLaMA-Factory's argument classes, the one for fine-tuning extended by held-out questions and all our stages."""
    from llamafactory.hparams import FinetuningArguments

    wider = questions.extend(FinetuningArguments)
    for package in STAGES.values():
        wider = import_module(f"{package}.hparams").extend(wider)
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
        from text2sql.llamafactory.performance import PerformanceCallback
        from text2sql.llamafactory.training import LayoutCallback, keep_order

        keep_order()
        given = config["args"]
        config["callbacks"] += [LayoutCallback(), PerformanceCallback()]
        package = find_stage(given) if isinstance(given, dict) else None
        if package is not None:
            _train(package, given, config["callbacks"])
            return
        if isinstance(given, dict) and given.get("eval_examples"):
            from llamafactory.train.sft import workflow

            from text2sql.llamafactory.sft import AnsweringTrainer

            workflow.CustomSeq2SeqTrainer = AnsweringTrainer
        if isinstance(given, dict) and given.get("stage") == "rm":
            _adapt_reward_models()
        theirs(config)

    train.knows_our_stages = True  # type: ignore[attr-defined]
    return train


def _adapt_reward_models() -> None:
    """Train value heads without a bias, which the loss of pairs does not see and standard classifiers do not have; and resume.

    A resumed run has adapter and value head from the checkpoint already (``adapter_name_or_path``), and transformers' trainer
    cannot load them into a model with a value head.
    """
    from llamafactory.train.rm import workflow

    load = workflow.load_model

    def load_without_bias(*arguments: Any, **named: Any) -> Any:
        model = load(*arguments, **named)
        model.v_head.summary.bias.data.zero_()
        model.v_head.summary.bias.requires_grad_(False)
        return model

    workflow.load_model = load_without_bias
    workflow.PairwiseTrainer._load_from_checkpoint = lambda *_arguments, **_named: None


def _train(package: str, given: dict[str, Any], callbacks: list[Any]) -> None:
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
    import_module(f"{package}.workflow").run(model, data, training, finetuning, given, callbacks)
    if dist.is_initialized():
        dist.destroy_process_group()
