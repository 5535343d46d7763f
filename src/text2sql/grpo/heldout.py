"""GRPO's evaluation: accuracy and reward of greedy answers to held-out questions, by which checkpoints are chosen.

TRL's own evaluation samples groups and reports their loss, which says little about the answers a user would get.
"""

from collections.abc import Sequence

from text2sql.llamafactory.heldout import Greedy, HeldOut
from text2sql.records import Example, RewardSample
from text2sql.rewards import RewardSuite


class RewardedHeldOut(HeldOut):
    """Held-out questions that the run's rewards score as well, with the one evaluator of the run.

    Accuracy is the evaluator's verdict, without the guards of the rewards. Further metrics are ``reward``,
    ``completion_length`` in tokens and ``clipped_ratio``.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        prompts: Sequence[str],
        suite: RewardSuite,
        max_tokens: int,
        gather: bool = True,
    ) -> None:
        super().__init__(examples, prompts, suite.context.evaluator, max_tokens, gather)
        self._suite = suite

    def score(self, answers: Sequence[Greedy]) -> dict[str, float]:
        """Means over the answers."""
        n = len(answers)
        samples = [RewardSample(self.prompts[a.place], a.completion, self.examples[a.place], a.tokens) for a in answers]
        return super().score(answers) | {
            "reward": sum(self._suite.score_batch(samples).total) / n,
            "completion_length": sum(a.tokens for a in answers) / n,
            "clipped_ratio": sum(a.cut_off for a in answers) / n,
        }
