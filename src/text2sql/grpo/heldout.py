"""Execution accuracy on held-out questions, answered greedily: the metric by which checkpoints are chosen.

TRL's own evaluation samples groups and reports their loss, which says little about the answers a user would get.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from accelerate.utils import broadcast_object_list, gather_object
from transformers import GenerationConfig
from trl.models import unwrap_model_for_generation

from text2sql.prompts import parse_completion
from text2sql.records import Example, RewardSample
from text2sql.rewards import RewardSuite


class Greedy(NamedTuple):
    """The greedy answer to the question at ``place``; ``cut_off`` says that it did not end by itself."""

    place: int
    completion: str
    tokens: int
    cut_off: bool


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
    """Questions with their prompts, and the rewards whose evaluator also judges the answers.

    The metrics of :meth:`measure` are ``execution_accuracy``, ``executable``, ``reward`` (of greedy answers),
    ``completion_length`` in tokens and ``clipped_ratio``. Accuracy is the evaluator's verdict on the SQL as inference
    parses it, without the guards of the rewards.
    """

    def __init__(self, examples: Sequence[Example], prompts: Sequence[str], suite: RewardSuite) -> None:
        self.examples = list(examples)
        self.prompts = list(prompts)
        self._suite = suite

    def measure(self, trainer: Any) -> dict[str, float]:
        """Answer all questions, shared among processes, and score them in the first one."""
        accelerator = trainer.accelerator
        answers = {answer.place: answer for answer in gather_object(self._answers(trainer))}
        found = [self._score([answers[i] for i in sorted(answers)]) if accelerator.is_main_process else None]
        broadcast_object_list(found, from_process=0)
        assert found[0] is not None
        return found[0]

    def _answers(self, trainer: Any) -> list[Greedy]:
        rank, world = trainer.accelerator.process_index, trainer.accelerator.num_processes
        order = sorted(range(len(self.prompts)), key=lambda i: len(self.prompts[i]))
        order += order[-1:] * (-len(order) % world)  # every process must take part in every generation
        mine, size = order[rank::world], trainer.args.per_device_eval_batch_size
        answers: list[Greedy] = []
        trainer.model.eval()
        with (
            torch.no_grad(),
            unwrap_model_for_generation(
                trainer.model_wrapped,
                trainer.accelerator,
                gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
            ) as model,
            without_model_defaults(model),
        ):
            for start in range(0, len(mine), size):
                answers += self._batch(trainer, model, mine[start : start + size])
        return answers

    def _batch(self, trainer: Any, model: Any, places: list[int]) -> list[Greedy]:
        tokenizer, end = trainer.processing_class, trainer.eos_token_id
        texts = [self.prompts[i] for i in places]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        inputs = inputs.to(trainer.accelerator.device)
        made = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            generation_config=GenerationConfig(
                max_new_tokens=trainer.max_completion_length,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=trainer.pad_token_id,
            ),
            disable_compile=True,
        )
        rows = made[:, inputs["input_ids"].shape[1] :].tolist()
        decoded = tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [
            Greedy(i, text, row.index(end) + 1 if end in row else len(row), end not in row)
            for i, text, row in zip(places, decoded, rows, strict=True)
        ]

    def _score(self, answers: list[Greedy]) -> dict[str, float]:
        n = len(answers)
        samples = [RewardSample(self.prompts[a.place], a.completion, self.examples[a.place], a.tokens) for a in answers]
        items = [(s.example.db_id, s.example.sql, parse_completion(s.completion)) for s in samples]
        verdicts = self._suite.context.evaluator.score_batch(items)
        return {
            "execution_accuracy": sum(v.correct for v in verdicts) / n,
            "executable": sum(v.outcome in ("match", "mismatch") for v in verdicts) / n,
            "reward": sum(self._suite.score_batch(samples).total) / n,
            "completion_length": sum(a.tokens for a in answers) / n,
            "clipped_ratio": sum(a.cut_off for a in answers) / n,
        }
