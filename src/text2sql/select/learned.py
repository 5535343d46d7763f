"""Scores candidates with a reward model, each distinct one of a question once."""

from collections.abc import Sequence
from dataclasses import replace

from text2sql.prompts import ask, gold_answer
from text2sql.records import Candidate, Example
from text2sql.rewards.learned import Scorer
from text2sql.select.candidates import SelectOptions


class Scoring:
    """Candidates with scores; the model is loaded once, when the first candidate needs it."""

    def __init__(self, options: SelectOptions) -> None:
        self._options = options
        self._scorer: Scorer | None = None

    def __call__(self, example: Example, rows: Sequence[Candidate]) -> list[Candidate]:
        """The candidates of a question as they are, with the model's scores.

        Raises:
            UserError: there is no such model.
        """
        if self._options.reward_model is None:
            return list(rows)
        if self._scorer is None:
            self._scorer = Scorer(self._options.reward_model, self._options.batch_size)
        prompt = self._scorer.render(ask(example, self._options.answer_format, self._options.system_prompt))
        plain = self._options.answer_format == "plain"
        texts = [gold_answer(row.pred) if plain else row.text for row in rows]
        distinct = list(dict.fromkeys(texts))
        scores = dict(zip(distinct, self._scorer([(prompt, text) for text in distinct]), strict=True))
        return [replace(row, score=scores[text]) for row, text in zip(rows, texts, strict=True)]
