"""The keys of a GRPO recipe: LLaMA-Factory's, those that TRL adds for GRPO, and ours; all flat, all in one YAML.

TRL's keys are read off its own configuration class, so they keep its names, defaults and help. Left out are
``model_init_kwargs`` (LLaMA-Factory loads the model) and ``max_prompt_length``, which would cut the prompt from the left,
that is the schema: prompts longer than ``cutoff_len`` are left out instead.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any, Literal, Optional, Union, get_args, get_type_hints

from text2sql.errors import UserError
from text2sql.prompts import AnswerFormat
from text2sql.recipe.keys import names

STAGE = "grpo"
_NOT_KEYS = ("model_init_kwargs", "max_prompt_length", "reward_weights")
# Keys that LLaMA-Factory has too, as settings of inference with defaults of its own; here TRL's defaults count.
SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty")

Mappings = Optional[Union[dict, str]]  # type: ignore[type-arg]  # noqa: UP007, UP045 (HfArgumentParser knows this form)


@dataclass
class OwnArguments:
    """Our keys, typed as LLaMA-Factory's parser wants it; :class:`Settings` is how they are used."""

    reward_funcs: str = field(
        default="execution",
        metadata={"help": "Rewards: names, sets, or package.module:reward; a list, or with commas."},
    )
    reward_weights: Mappings = field(
        default=None, metadata={"help": "Weights by reward, or a list in the order of reward_funcs."}
    )
    reward_params: Mappings = field(default=None, metadata={"help": "Parameters by reward, then by name."})
    database_root: str | None = field(default=None, metadata={"help": "Folder of databases, DB_ID/DB_ID.sqlite in it."})
    sql_timeout: float = field(default=5.0, metadata={"help": "Seconds one query may take."})
    reward_protocol: str = field(
        default="spider-test-suite", metadata={"help": "The evaluator's protocol, for rewards and held-out accuracy."}
    )
    reward_jobs: int = field(
        default=2, metadata={"help": "Worker processes that run SQL, for each training process; 0: none of their own."}
    )
    answer_format: Literal["plain", "reasoning", "process"] = field(
        default="plain", metadata={"help": "What the prompt asks for."}
    )
    eval_samples: int | None = field(
        default=None, metadata={"help": "Held-out questions to answer at each evaluation, evenly spread; all if unset."}
    )


@dataclass(frozen=True)
class Settings:
    """Our keys as the stage uses them; see :class:`OwnArguments`."""

    reward_funcs: list[str]
    reward_weights: Mapping[str, float] | list[float] | None
    reward_params: Mapping[str, Mapping[str, Any]]
    database_root: Path | None
    sql_timeout: float
    reward_protocol: str
    reward_jobs: int
    answer_format: AnswerFormat
    eval_samples: int | None


def read_settings(get: Mapping[str, Any]) -> Settings:
    """Our keys from a recipe, or from ``vars`` of parsed arguments; absent ones have their defaults.

    Raises:
        UserError: a value that cannot be.
    """
    own = {f.name: get.get(f.name, f.default) for f in fields(OwnArguments)}
    for key in ("reward_weights", "reward_params"):
        if isinstance(own[key], str):
            raise UserError(f"{key}: a mapping of reward names is needed, not {own[key]!r}")
    for key, least in (("sql_timeout", 0.01), ("reward_jobs", 0), ("eval_samples", 1)):
        if own[key] is not None and own[key] < least:
            raise UserError(f"{key}: {own[key]} is less than {least}")
    root = own["database_root"]
    return Settings(
        **{
            **own,
            "reward_funcs": names(own["reward_funcs"]),
            "reward_params": own["reward_params"] or {},
            "database_root": Path(root) if root else None,
        }
    )


def trl_fields() -> list[Field[Any]]:
    """Fields of TRL's configuration that are GRPO's own: not the trainer's, not replaced by ours."""
    from transformers import TrainingArguments
    from trl import GRPOConfig

    general = {f.name for f in fields(TrainingArguments)} | {*_NOT_KEYS, *SAMPLING}
    return [f for f in fields(GRPOConfig) if f.name not in general]


def extend(arguments: type[Any]) -> type[Any]:
    """LLaMA-Factory's fine-tuning arguments with the stage and its keys."""
    from trl import GRPOConfig

    stages = (*get_args(get_type_hints(arguments)["stage"]), STAGE)
    theirs, ours = get_type_hints(GRPOConfig), get_type_hints(OwnArguments)
    added: list[tuple[str, Any, Any]] = [
        ("stage", Literal[stages], field(default="sft", metadata={"help": "Which stage to run."}))
    ]
    added += [(f.name, theirs[f.name], _copy(f)) for f in trl_fields()]
    added += [(f.name, ours[f.name], _copy(f)) for f in fields(OwnArguments)]
    return make_dataclass("FinetuningArguments", added, bases=(arguments,))


def _copy(original: Field[Any]) -> Any:
    if original.default_factory is not MISSING:
        return field(default_factory=original.default_factory, metadata=original.metadata)
    return field(default=original.default, metadata=original.metadata)


def build_config(training: Any, finetuning: Any, given: Mapping[str, Any]) -> Any:
    """TRL's configuration from LLaMA-Factory's parsed arguments; ``given`` is the recipe as written.

    Raises:
        UserError: TRL refuses the combination, for example groups that do not fill the batch.
    """
    from transformers import TrainingArguments
    from trl import GRPOConfig

    values = {f.name: getattr(training, f.name) for f in fields(TrainingArguments) if f.init}
    values |= {f.name: getattr(finetuning, f.name) for f in trl_fields()}
    values |= {name: given[name] for name in SAMPLING if name in given}
    values["shuffle_dataset"] = values["shuffle_dataset"] and not finetuning.disable_shuffling
    # TRL wants evaluation batches made of whole groups; ours are single greedy answers, so any size will do.
    own_size, values["per_device_eval_batch_size"] = values["per_device_eval_batch_size"], values["num_generations"]
    try:
        config = GRPOConfig(**values, max_prompt_length=None)
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error
    config.per_device_eval_batch_size = own_size
    return config
