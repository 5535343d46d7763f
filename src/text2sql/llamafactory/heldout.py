"""Execution accuracy on held-out questions, answered greedily by the model in training: the metric that chooses checkpoints.

Supervised fine-tuning and GRPO evaluate by it alike, on one process or many, with the prompts of their training.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from accelerate.utils import broadcast_object_list, gather_object
from transformers import GenerationConfig
from trl.models import unwrap_model_for_generation

from sqleval import Evaluator
from text2sql.errors import UserError
from text2sql.llamafactory.questions import METRICS
from text2sql.prompts import AnswerFormat, ask, parse_completion
from text2sql.records import Example

AT_ONCE = 8
"""Questions that a process answers together, at least: unlike the loss, answers need no logits of whole sequences."""


class Greedy(NamedTuple):
    """The greedy answer to the question at ``place``; ``cut_off`` says that it did not end by itself."""

    place: int
    completion: str
    tokens: int
    cut_off: bool


def prompt_ids(
    example: Example, template: Any, tokenizer: Any, answer: AnswerFormat, system_prompt: str | None = None
) -> list[int]:
    """Token ids of the prompt: exactly those that supervised fine-tuning of this template and format shows."""
    system, user = ask(example, answer, system_prompt)
    turns = [user, {"role": "assistant", "content": ""}]
    ids: list[int] = template.encode_oneturn(tokenizer, turns, system["content"])[0]
    return ids


def prompt_text(ids: list[int], tokenizer: Any, row: str) -> str:
    """The text of a prompt's token ids, for those who encode it again.

    Raises:
        UserError: encoding it gives other ids; names the ``row``.
    """
    text: str = tokenizer.decode(ids)
    if tokenizer(text, add_special_tokens=False)["input_ids"] != ids:
        raise UserError(f"row {row}: its prompt is not the same after decoding and encoding")
    return text


@contextmanager
def without_model_defaults(model: Any) -> Iterator[None]:
    """Set the model's generation_config.json aside, which fills in whatever equals the library's defaults.

    Qwen3's has temperature 0.6 and top_k 20: answers would come from another distribution than the loss assumes.
    """
    owner = model.get_base_model() if hasattr(model, "get_base_model") else model
    kept = owner.generation_config
    owner.generation_config = GenerationConfig()
    try:
        yield
    finally:
        owner.generation_config = kept


def spread(n: int, limit: int | None) -> list[int]:
    """``limit`` places of ``n``, evenly spread, so that a slice has questions of every database."""
    count = n if limit is None else min(limit, n)
    return [i * n // count for i in range(count)]


class HeldOut:
    """Questions with their prompts (text), answered in at most ``max_tokens``, and the evaluator that judges the answers.

    ``gather`` brings the weights that ZeRO-3 has spread to each process while it answers.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        prompts: Sequence[str],
        evaluator: Evaluator,
        max_tokens: int,
        gather: bool = True,
    ) -> None:
        self.examples, self.prompts = list(examples), list(prompts)
        self._evaluator, self._max_tokens, self._gather = evaluator, max_tokens, gather

    def measure(self, trainer: Any) -> dict[str, float]:
        """Answer all questions, shared among processes, and score them in the first one; every process has the result."""
        accelerator = trainer.accelerator
        answers = {answer.place: answer for answer in gather_object(self._answers(trainer))}
        found = [self.score([answers[i] for i in sorted(answers)]) if accelerator.is_main_process else None]
        broadcast_object_list(found, from_process=0)
        assert found[0] is not None
        return found[0]

    def score(self, answers: Sequence[Greedy]) -> dict[str, float]:
        """Shares of answers that are right, and that gave a result.

        The evaluator judges the SQL as inference parses it.
        """
        items = [(e.db_id, e.sql, parse_completion(a.completion)) for a in answers for e in [self.examples[a.place]]]
        verdicts = self._evaluator.score_batch(items)
        right = sum(verdict.correct for verdict in verdicts)
        ran = sum(verdict.outcome in ("match", "mismatch") for verdict in verdicts)
        return dict(zip(METRICS, (right / len(answers), ran / len(answers)), strict=True))

    def _answers(self, trainer: Any) -> list[Greedy]:
        rank, world = trainer.accelerator.process_index, trainer.accelerator.num_processes
        order = sorted(range(len(self.prompts)), key=lambda i: len(self.prompts[i]))
        order += order[-1:] * (-len(order) % world)  # every process must take part in every generation
        mine, size = order[rank::world], max(trainer.args.per_device_eval_batch_size, AT_ONCE)
        answers: list[Greedy] = []
        trainer.model.eval()
        with (
            torch.no_grad(),
            unwrap_model_for_generation(
                trainer.model_wrapped, trainer.accelerator, gather_deepspeed3_params=self._gather
            ) as model,
            without_model_defaults(model),
        ):
            for start in range(0, len(mine), size):
                answers += self._batch(trainer, model, mine[start : start + size])
        return answers

    def _batch(self, trainer: Any, model: Any, places: list[int]) -> list[Greedy]:
        tokenizer = trainer.processing_class
        end, texts = tokenizer.eos_token_id, [self.prompts[i] for i in places]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        inputs = inputs.to(trainer.accelerator.device)
        made = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            generation_config=GenerationConfig(
                max_new_tokens=self._max_tokens,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=tokenizer.pad_token_id,
            ),
            disable_compile=True,
        )
        rows = made[:, inputs["input_ids"].shape[1] :].tolist()
        decoded = tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [
            Greedy(i, text, row.index(end) + 1 if end in row else len(row), end not in row)
            for i, text, row in zip(places, decoded, rows, strict=True)
        ]
