"""From parsed arguments to a trained model, in the steps of LLaMA-Factory's own workflows."""

import copy
from collections.abc import Mapping
from typing import Any

from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.extras.ploting import plot_loss
from llamafactory.model import load_model, load_tokenizer
from llamafactory.train.trainer_utils import create_modelcard_and_push, create_ref_model

from text2sql.errors import UserError
from text2sql.grpo.data import build_prompts, load_examples
from text2sql.grpo.heldout import HeldOut, spread
from text2sql.grpo.hparams import GRPOArguments, build_config, read_arguments
from text2sql.grpo.scoring import Scoring, open_rewards
from text2sql.grpo.trainer import CustomGRPOTrainer
from text2sql.records import Example
from text2sql.rewards import RewardSuite


def run(model: Any, data: Any, training: Any, finetuning: Any, given: Mapping[str, Any], callbacks: list[Any]) -> None:
    """Train, and evaluate where the recipe asks for it.

    ``model``, ``data``, ``training`` and ``finetuning`` are LLaMA-Factory's parsed arguments, ``given`` the recipe.

    Raises:
        UserError: rewards, data or databases are not as the recipe says.
    """
    ours = read_arguments(vars(finetuning))
    config = build_config(training, finetuning, given)
    tokenizer = load_tokenizer(model)["tokenizer"]
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # some add token_type_ids, which generate() refuses
    template = get_template_and_fix_tokenizer(tokenizer, data)
    examples, unseen = load_examples(model, data, training)
    prompts = build_prompts(examples, template, tokenizer, ours.answer_format, data.cutoff_len)
    with open_rewards(ours) as suite:
        trainer = CustomGRPOTrainer(
            scoring=Scoring(suite),
            finetuning_args=finetuning,
            held_out=_held_out(unseen, ours, suite, template, tokenizer),
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
    examples: list[Example], ours: GRPOArguments, suite: RewardSuite, template: Any, tokenizer: Any
) -> HeldOut | None:
    if not examples:
        return None
    if ours.database_root is None:
        raise UserError("database_root: held-out accuracy executes SQL; set it to the folder of databases")
    chosen = [examples[i] for i in spread(len(examples), ours.eval_samples)]
    return HeldOut(chosen, build_prompts(chosen, template, tokenizer, ours.answer_format)["prompt"], suite)


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
