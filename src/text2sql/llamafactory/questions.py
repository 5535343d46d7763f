"""The keys of held-out questions, by whose execution accuracy checkpoints are chosen, and checks before anything is loaded.

The loss on random rows says little about a model's answers on databases that it has not seen.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import pydantic
from pydantic import BeforeValidator, TypeAdapter, ValidationError

from text2sql.errors import UserError, first_complaint
from text2sql.prompts import AnswerFormat, check_system
from text2sql.recipe.keys import deepspeed_settings, evaluates, tensor_parallel
from text2sql.records import Example, read_jsonl

REQUIRED = ("db_id", "question", "schema", "sql")
"""What every row must have, and none of them empty."""
METRICS = ("execution_accuracy", "executable")
"""What an evaluation adds, where questions are held out; each is better the greater it is."""

OptionalPath = Annotated[Path | None, BeforeValidator(lambda path: path or None)]


@dataclass
class QuestionArguments:
    """How questions are asked and answers judged, in every stage that does: LLaMA-Factory's parser reads them, pydantic
    checks them."""

    database_root: OptionalPath = field(
        default=None, metadata={"help": "Folder of databases, DB_ID/DB_ID.sqlite in it."}
    )
    timeout: Annotated[float, pydantic.Field(ge=0.01)] = field(
        default=5.0, metadata={"help": "Seconds one query may take."}
    )
    answer_format: AnswerFormat = field(default="plain", metadata={"help": "What the prompt asks for."})
    system_prompt: str | None = field(default=None, metadata={"help": "First message, if not the format's own."})
    eval_samples: Annotated[int | None, pydantic.Field(ge=1)] = field(
        default=None, metadata={"help": "Held-out questions to answer at each evaluation, evenly spread; all if unset."}
    )


@dataclass
class HeldOutArguments(QuestionArguments):
    """Those of supervised fine-tuning, whose ``eval_dataset`` holds conversations and no databases."""

    eval_examples: OptionalPath = field(
        default=None, metadata={"help": "Examples to answer at each evaluation, with the SQL of each executed."}
    )


def extend(arguments: type[Any]) -> type[Any]:
    """LLaMA-Factory's fine-tuning arguments with the keys of held-out questions; its parser changes the types of fields."""
    hints = get_type_hints(HeldOutArguments)
    added = [(f.name, hints[f.name], copy(f)) for f in fields(HeldOutArguments)]
    return make_dataclass("FinetuningArguments", added, bases=(arguments,))


Keys = TypeVar("Keys", bound=QuestionArguments)


def read_keys(kind: type[Keys], values: Mapping[str, Any]) -> Keys:
    """Our keys from a recipe, or from ``vars`` of parsed arguments; other keys are ignored.

    Raises:
        UserError: a value of the wrong type or out of its range.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise UserError(first_complaint(error)) from None


def check(recipe: Mapping[str, Any], where: Path) -> None:
    """Refuse held-out questions that a recipe of LLaMA-Factory's stages cannot answer, and keys without them.

    Raises:
        UserError: names the key or the row.
    """
    ours = read_keys(HeldOutArguments, recipe)
    metric = str(recipe.get("metric_for_best_model") or "").removeprefix("eval_")
    if ours.eval_examples is None:
        if metric in METRICS and evaluates(recipe):
            raise UserError(
                f"{where}: metric_for_best_model {metric} needs eval_examples, a file of held-out questions"
            )
        left = [f.name for f in fields(QuestionArguments) if recipe.get(f.name) is not None]
        if left and "eval_examples" not in recipe:
            raise UserError(f"{where}: {left[0]} has no effect without eval_examples, a file of held-out questions")
        return
    if problem := _problem(recipe, where, ours):
        raise UserError(f"{where}: eval_examples: {problem}")
    if metric in METRICS and recipe.get("greater_is_better") is False:
        raise UserError(f"{where}: {metric} is better the greater it is; set greater_is_better=true")
    if ours.answer_format == "process" and recipe.get("enable_thinking", True) is False:
        raise UserError(f"{where}: answer_format process starts with <think>; set enable_thinking=true")
    check_system(ours.system_prompt, ours.eval_examples)
    if not check_rows(ours.eval_examples, ours.database_root):
        raise UserError(f"{ours.eval_examples}: no examples in it")


def _problem(recipe: Mapping[str, Any], where: Path, ours: HeldOutArguments) -> str | None:
    if recipe.get("stage", "sft") != "sft":
        return f"only supervised fine-tuning answers them, not stage {recipe['stage']}; remove the key"
    if not evaluates(recipe):
        return "this recipe never evaluates; set eval_strategy=steps"
    if ours.database_root is None:
        return "answers are executed; set database_root to the folder of databases"
    if not ours.database_root.is_dir():
        return f"database_root {ours.database_root}: no such folder"
    if recipe.get("eval_on_each_dataset"):
        return "there would be a score for each of several data sets; set eval_on_each_dataset=false"
    if recipe.get("fsdp") or tensor_parallel(deepspeed_settings(recipe, where)) > 1:
        return "no answers while processes share layers (tensor parallelism, FSDP); remove the key"
    return None


def check_rows(path: Path, root: Path | None) -> set[str]:
    """Check that every row can be asked and judged; returns their databases. ``root`` is the folder of these.

    Raises:
        UserError: a row lacks something, or its database is not there; names file and row.
    """
    known: set[str] = set()
    for number, example in enumerate(read_jsonl(path, Example), 1):
        row = f"{path}: row {number} ({example.question_id})"
        for key in REQUIRED:
            if not getattr(example, key).strip():
                raise UserError(f"{row}: {key} is empty")
        if root is not None and example.db_id not in known:
            database = root / example.db_id / f"{example.db_id}.sqlite"
            if not database.is_file():
                hint = "; prepare the data first (bash scripts/prepare_data.sh)" if root.name == "suites" else ""
                raise UserError(f"{row}: no database {database}{hint}")
        known.add(example.db_id)
    return known
