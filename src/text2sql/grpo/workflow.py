"""From parsed arguments to a trained model, in the steps of LLaMA-Factory's own workflows.

LLaMA-Factory's converters drop the columns that rewards need (database, gold SQL, question, schema), so ours keeps the
whole example as JSON. Whatever the file is otherwise described as, its rows are read as examples.
"""

import copy
import json
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from datasets import Dataset
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.converter import DATASET_CONVERTERS, DatasetConverter, register_dataset_converter
from llamafactory.data.data_utils import merge_dataset, split_dataset
from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.extras.ploting import plot_loss
from llamafactory.model import load_model, load_tokenizer
from llamafactory.train.trainer_utils import create_modelcard_and_push, create_ref_model

from text2sql.errors import UserError
from text2sql.grpo.heldout import RewardedHeldOut
from text2sql.grpo.hparams import GRPOArguments, build_config, read_arguments
from text2sql.grpo.scoring import Scoring, open_rewards
from text2sql.grpo.trainer import CustomGRPOTrainer
from text2sql.llamafactory.heldout import prompt_ids, prompt_text, spread
from text2sql.llamafactory.questions import REQUIRED
from text2sql.prompts import AnswerFormat
from text2sql.records import Example, example_of
from text2sql.rewards import RewardSuite
from text2sql.sql import load_issues

logger = logging.getLogger(__name__)

FORMATTING = "text2sql"
_FIELDS = frozenset(f.name for f in fields(Example)) - {"references"}


def to_example(row: dict[str, Any]) -> Example:
    """A row as an example.

    Raises:
        UserError: it lacks something; names the row.
    """
    name = row.get("question_id") or f"(no question_id; question: {str(row.get('question'))[:60]!r})"
    for key in REQUIRED:
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise UserError(f"row {name}: no {key}; GRPO needs rows with {', '.join(REQUIRED)}")
    texts = {k: str(row[k]) for k in _FIELDS & row.keys() if row[k] is not None}
    return example_of({"question_id": "", **texts, "references": row.get("references")})


class _Converter(DatasetConverter):  # type: ignore[misc]
    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        return {"example": json.dumps(to_example(example).columns, ensure_ascii=False)}


def load_examples(model: Any, data: Any, training: Any) -> tuple[list[Example], list[Example]]:
    """Training and held-out examples, by LLaMA-Factory's keys (dataset, eval_dataset, val_size, max_samples, mixing).

    Raises:
        UserError: a row lacks what GRPO needs, or streaming is asked for.
    """
    if data.streaming:
        raise UserError("streaming: GRPO repeats each prompt, so it needs the whole data set; set streaming=false")
    if FORMATTING not in DATASET_CONVERTERS:
        register_dataset_converter(FORMATTING, _Converter)
    with training.main_process_first(desc="load examples", local=not data.data_shared_file_system):
        both = [_merged(names, model, data, training) for names in (data.dataset, data.eval_dataset)]
        train, held_out = split_dataset(*both, data, seed=training.seed)
    return _examples(train.get("train")), _examples(held_out.get("validation"))


def _examples(part: Any) -> list[Example]:
    return [example_of(json.loads(text)) for text in part["example"]] if part is not None else []


def _merged(names: list[str] | None, model: Any, data: Any, training: Any) -> Any:
    if not names:
        return None
    described = get_dataset_list(names, data.dataset_dir)
    for attributes in described:
        attributes.formatting, attributes.ranking = FORMATTING, False
    loaded = [_load_single_dataset(attributes, model, data, training) for attributes in described]
    return merge_dataset(loaded, data, seed=training.seed)


def build_prompts(
    examples: list[Example],
    template: Any,
    tokenizer: Any,
    answer: AnswerFormat,
    cutoff_len: int | None = None,
    system_prompt: str | None = None,
) -> Dataset:
    """Rows of ``prompt`` (text) and ``example`` (JSON); prompts of more than ``cutoff_len`` tokens are left out.

    TRL takes text and encodes it again; a tokenizer for which that gives other ids is refused.

    Raises:
        UserError: no prompt is left, or the tokenizer does not read its own text back.
    """
    rows = []
    for example in examples:
        ids = prompt_ids(example, template, tokenizer, answer, system_prompt)
        if cutoff_len is None or len(ids) <= cutoff_len:
            text = prompt_text(ids, tokenizer, example.question_id)
            rows.append({"prompt": text, "example": json.dumps(example.columns, ensure_ascii=False)})
    if examples and not rows:
        raise UserError(
            f"cutoff_len: all {len(examples)} prompts are longer than {cutoff_len} tokens; raise cutoff_len"
        )
    if left_out := len(examples) - len(rows):
        logger.warning("%d of %d prompts are longer than cutoff_len and left out", left_out, len(examples))
    return Dataset.from_list(rows)


def run(model: Any, data: Any, training: Any, finetuning: Any, given: Mapping[str, Any], callbacks: list[Any]) -> None:
    """Train, and evaluate where the recipe asks for it.

    ``model``, ``data``, ``training`` and ``finetuning`` are LLaMA-Factory's parsed arguments, ``given`` the recipe.

    Raises:
        UserError: rewards, data or databases are not as the recipe says.
    """
    ours = read_arguments(vars(finetuning))
    load_issues(ours.issues)  # before prompts are built, which name them
    config = build_config(training, finetuning, given)
    tokenizer = load_tokenizer(model)["tokenizer"]
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # some add token_type_ids, which generate() refuses
    template = get_template_and_fix_tokenizer(tokenizer, data)
    examples, unseen = load_examples(model, data, training)
    prompts = build_prompts(examples, template, tokenizer, ours.answer_format, data.cutoff_len, ours.system_prompt)
    with open_rewards(ours) as suite:
        trainer = CustomGRPOTrainer(
            scoring=Scoring(suite),
            finetuning_args=finetuning,
            held_out=_held_out(unseen, ours, suite, template, tokenizer, config),
            model=load_model(tokenizer, model, finetuning, training.do_train),
            ref_model=_reference(model, finetuning) if config.beta else None,
            args=config,
            train_dataset=prompts,
            eval_dataset=unseen or None,
            processing_class=tokenizer,
            callbacks=callbacks,
        )
        _train(trainer, model, data, training, finetuning)


def _held_out(
    examples: list[Example], ours: GRPOArguments, suite: RewardSuite, template: Any, tokenizer: Any, config: Any
) -> RewardedHeldOut | None:
    if not examples:
        return None
    if ours.database_root is None:
        raise UserError("database_root: held-out accuracy executes SQL; set it to the folder of databases")
    chosen = [examples[i] for i in spread(len(examples), ours.eval_samples)]
    prompts = build_prompts(chosen, template, tokenizer, ours.answer_format, system_prompt=ours.system_prompt)
    return RewardedHeldOut(
        chosen, prompts["prompt"], suite, config.max_completion_length, config.ds3_gather_for_generation
    )


def _reference(model: Any, finetuning: Any) -> Any:
    """The model that the KL term looks at, where it is not the base: one the recipe names, or the adapter as it was.

    With an adapter that is trained further, switching it off would give the base without its fine-tuning.
    """
    continued = model.adapter_name_or_path and not finetuning.create_new_adapter
    if finetuning.ref_model is None and not continued:
        return None
    wanted = copy.copy(finetuning)
    if finetuning.ref_model is None:
        wanted.ref_model = model.model_name_or_path
        wanted.ref_model_adapters = ",".join(model.adapter_name_or_path)
        wanted.ref_model_quantization_bit = model.quantization_bit
    return create_ref_model(model, wanted)


def _train(trainer: CustomGRPOTrainer, model: Any, data: Any, training: Any, finetuning: Any) -> None:
    if training.do_train:
        result = trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
        trainer.save_model()
        trainer.log_metrics("train", result.metrics)
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()
        if trainer.is_world_process_zero() and finetuning.plot_loss:
            plot_loss(training.output_dir, keys=["loss", "reward", "eval_execution_accuracy"])
    if training.do_eval:
        metrics = trainer.evaluate(metric_key_prefix="eval")
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
    create_modelcard_and_push(trainer, model, data, training, finetuning)
