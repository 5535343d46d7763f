"""The keys of a GRPO recipe: LLaMA-Factory's, those that TRL adds for GRPO, and ours; all flat, all in one YAML.

TRL's keys are read off its own configuration class, so they keep its names, defaults and help. Left out are
``model_init_kwargs`` (LLaMA-Factory loads the model) and ``max_prompt_length``, which is ``cutoff_len`` here. TRL would cut
longer prompts from the left, that is the schema, but they are left out before. vLLM in the training process reserves room for
that and ``max_completion_length``, instead of the 40,960 tokens that Qwen3 could read.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import Field, dataclass, field, fields, make_dataclass
from typing import Annotated, Any, Literal, get_args, get_type_hints

import pydantic
from pydantic import BeforeValidator

from text2sql.errors import UserError
from text2sql.llamafactory.questions import QuestionArguments, read_keys
from text2sql.plan.batch import cutoff
from text2sql.recipe.keys import names
from text2sql.rewards.context import PROTOCOL

STAGE = "grpo"
_NOT_KEYS = ("model_init_kwargs", "max_prompt_length", "reward_weights")
# Keys that LLaMA-Factory has too, as settings of inference with defaults of its own; here TRL's defaults count.
SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty")


def _not_text(weights: object) -> object:
    if weights is None or isinstance(weights, dict | list):
        return weights
    raise ValueError(f"should be a mapping such as {{execution: 2}}, or a list, not {weights!r}")


# LLaMA-Factory's parser takes a union of one type and None, or one whose second member is text.
Weights = Annotated[dict[str, Any] | str | list[Any] | None, BeforeValidator(_not_text)]


@dataclass
class GRPOArguments(QuestionArguments):
    """Our keys: what LLaMA-Factory's parser reads them with, what pydantic checks them by, and what the stage uses."""

    reward_funcs: Annotated[list[str], BeforeValidator(names)] = field(
        default_factory=lambda: ["execution"],
        metadata={"help": "Rewards: names, sets, or package.module:reward; a list, or with commas."},
    )
    reward_weights: Weights = field(
        default=None, metadata={"help": "Weights by reward, or a list in the order of reward_funcs."}
    )
    reward_params: dict[str, dict[str, Any]] | None = field(
        default=None, metadata={"help": "Parameters by reward, then by name."}
    )
    reward_protocol: str = field(
        default=PROTOCOL, metadata={"help": "The evaluator's protocol, for rewards and held-out accuracy."}
    )
    reward_jobs: Annotated[int, pydantic.Field(ge=0)] = field(
        default=2, metadata={"help": "Worker processes that run SQL, for each training process; 0: none of their own."}
    )
    issues: Annotated[list[str], BeforeValidator(names)] = field(
        default_factory=list, metadata={"help": "Modules that register issues of your own (text2sql.sql.issue)."}
    )


def read_arguments(values: Mapping[str, Any]) -> GRPOArguments:
    """Our keys from a recipe, or from ``vars`` of parsed arguments; other keys are ignored.

    Raises:
        UserError: a value of the wrong type or out of its range.
    """
    return read_keys(GRPOArguments, values)


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
    hints = get_type_hints(GRPOConfig) | get_type_hints(GRPOArguments)
    added: list[tuple[str, Any, Any]] = [
        ("stage", Literal[stages], field(default="sft", metadata={"help": "Which stage to run."}))
    ]
    added += [(f.name, hints[f.name], copy(f)) for f in (*trl_fields(), *fields(GRPOArguments))]
    return make_dataclass("FinetuningArguments", added, bases=(arguments,))


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
        config = GRPOConfig(**values, max_prompt_length=cutoff(given))
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error
    config.per_device_eval_batch_size = own_size
    return config
