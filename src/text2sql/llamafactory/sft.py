"""Supervised fine-tuning whose evaluations also answer questions, so that the best checkpoint is the one that answers best."""

import atexit
from typing import Any

from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer

from sqleval import Evaluator
from text2sql.llamafactory.heldout import HeldOut, prompt_ids, prompt_text, spread
from text2sql.llamafactory.questions import HeldOutArguments, read_keys
from text2sql.records import Example, read_jsonl


class AnsweringTrainer(CustomSeq2SeqTrainer):  # type: ignore[misc]
    """LLaMA-Factory's trainer, whose evaluations also answer the questions of ``eval_examples``.

    The metrics stand beside the loss before logs, the choice of the best checkpoint and early stopping read them.
    """

    def __init__(self, finetuning_args: Any, gen_kwargs: dict[str, Any], **arguments: Any) -> None:
        super().__init__(finetuning_args=finetuning_args, gen_kwargs=gen_kwargs, **arguments)
        ours = read_keys(HeldOutArguments, vars(finetuning_args))
        self._held_out = self._open(ours, gen_kwargs["max_new_tokens"]) if ours.eval_examples else None

    def _open(self, ours: HeldOutArguments, max_tokens: int) -> HeldOut:
        assert ours.eval_examples is not None and ours.database_root is not None  # checked before the start
        examples = list(read_jsonl(ours.eval_examples, Example))
        chosen = [examples[i] for i in spread(len(examples), ours.eval_samples)]
        template, tokenizer = self.data_collator.template, self.processing_class
        told = (template, tokenizer, ours.answer_format, ours.system_prompt)
        prompts = [prompt_text(prompt_ids(e, *told), tokenizer, e.question_id) for e in chosen]
        evaluator = Evaluator(ours.database_root, protocol="spider-test-suite", timeout=ours.timeout)
        atexit.register(evaluator.close)
        return HeldOut(chosen, prompts, evaluator, max_tokens)

    def evaluation_loop(self, *arguments: Any, metric_key_prefix: str = "eval", **named: Any) -> Any:
        """LLaMA-Factory's evaluation, and with the prefix ``eval`` the answers' metrics."""
        output = super().evaluation_loop(*arguments, metric_key_prefix=metric_key_prefix, **named)
        if self._held_out is not None and metric_key_prefix == "eval":
            output.metrics.update({f"eval_{name}": value for name, value in self._held_out.measure(self).items()})
        return output
