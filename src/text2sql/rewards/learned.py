"""Learned scores: a reward model as transformers loads it, for rewards and for choosing among answers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.prompts import Message
from text2sql.records import RewardSample
from text2sql.rewards.registry import load_callable, reward

_END = "<|im_end|>\n"  # closes an answer in training; a score is read at its last token


class Scorer:
    """A sequence-classification model with one score, such as ``text2sql rm2hf`` writes, on the GPU where there is one.

    Raises:
        UserError: there is no such model, or it has more than one score.
    """

    def __init__(self, folder: Path, batch_size: int = 32) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            load = AutoModelForSequenceClassification.from_pretrained
            model, info = load(folder, local_files_only=True, dtype="auto", output_loading_info=True)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{folder}: no reward model ({reason}); convert one with text2sql rm2hf") from error
        if info["missing_keys"] or model.config.num_labels != 1:
            raise UserError(f"{folder}: not a classifier with one score; convert a reward model with text2sql rm2hf")
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model, self._batch = model.to(self._device).eval(), batch_size
        self._tokenizer.padding_side = "right"

    def render(self, messages: Sequence[Message]) -> str:
        """A prompt's text, up to where the answer starts, as training had it."""
        text: str = self._tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return text

    def __call__(self, answers: Sequence[tuple[str, str]]) -> list[float]:
        """A score for each prompt and completion; the length decides the batches, not the scores."""
        import torch

        texts = [prompt + completion.removesuffix("<|im_end|>") + _END for prompt, completion in answers]
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        found = [0.0] * len(texts)
        with torch.inference_mode():
            for start in range(0, len(order), self._batch):
                rows = order[start : start + self._batch]
                given = self._tokenizer([texts[row] for row in rows], return_tensors="pt", padding=True)
                inputs = {key: given[key].to(self._device) for key in ("input_ids", "attention_mask")}
                for row, score in zip(rows, self._model(**inputs).logits[:, 0].float().tolist(), strict=True):
                    found[row] = score
        return found


@reward("reward_model", weight=1.0, low=float("-inf"), high=float("inf"))
class RewardModel:
    """The score that a reward model gives to prompt and completion, unbounded, as it comes.

    Parameter ``model``: the folder of a classifier with one score (``text2sql rm2hf`` writes one). Or ``scorer``: dotted path
    ``package.module:function`` of a callable that takes a list of (prompt, completion) and returns as many numbers.
    A learned score can be gamed where nothing was learned: use it beside an execution reward.
    """

    def __init__(self, model: str | None = None, scorer: str | None = None, batch_size: int = 32) -> None:
        if (model is None) == (scorer is None):
            raise UserError("reward_model: give reward_params: {reward_model: {model: FOLDER}}, or a scorer, not both")
        self._scorer: Callable[..., Sequence[float]]
        if model is not None:
            self._scorer = Scorer(Path(model), batch_size)
        else:
            self._scorer = load_callable(str(scorer), f"reward_model: scorer {scorer!r}")

    def score_batch(self, samples: Sequence[RewardSample]) -> Sequence[float]:
        """One score a sample."""
        return self._scorer([(sample.prompt, sample.completion) for sample in samples])
