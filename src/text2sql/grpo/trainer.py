"""TRL's GRPO trainer with LLaMA-Factory's optimizers, our rewards' figures, and held-out accuracy for evaluation."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from accelerate.utils import gather_object
from llamafactory.train.trainer_utils import create_custom_optimizer, create_custom_scheduler
from transformers import TrainerCallback
from trl import GRPOTrainer
from trl.models import prepare_deepspeed
from trl.trainer.utils import split_tensor_dict

from text2sql.grpo.heldout import RewardedHeldOut
from text2sql.grpo.scoring import Scoring, Sums, means, samples_of
from text2sql.grpo.sharing import block_size, can_share, log_probabilities, shared_prefill, worth_sharing
from text2sql.llamafactory.heldout import without_model_defaults
from text2sql.llamafactory.training import EpochOrder


class StepClock(TrainerCallback):  # type: ignore[misc]
    """Wall time of optimizer steps, from before their first batch is generated until the weights are updated."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._steps = 0
        self._began = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """A step begins."""
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """A step has ended."""
        self._seconds["step"] += time.perf_counter() - self._began
        self._steps += 1

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Count what runs inside as ``part`` of the step."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - began

    def take(self) -> dict[str, float]:
        """Mean seconds a step since the last call, by part, and the rewards' share; empty before the first step."""
        seconds, steps = self._seconds, self._steps
        if not steps:
            return {}
        self._seconds, self._steps = defaultdict(float), 0
        parts = {part: seconds[part] / steps for part in ("step", "generation", "reward")}
        parts["update"] = parts["step"] - parts["generation"] - parts["reward"]
        times = {f"time/{part}": value for part, value in parts.items()}
        return times | {"time/reward_share": parts["reward"] / parts["step"] if parts["step"] else 0.0}


class CustomGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO on examples whose rewards come from ``scoring``.

    Each log has, beside TRL's figures, each reward's components and failures, why queries failed, the share of groups
    whose rewards are all equal, and where the step's time went. ``ref_model`` replaces the model that the KL term looks
    at; without it that is the model before this training.
    """

    optimizer: Any
    control: Any
    _buffered_inputs: Any

    def __init__(
        self,
        scoring: Scoring,
        finetuning_args: Any,
        held_out: RewardedHeldOut | None = None,
        ref_model: Any = None,
        callbacks: list[Any] | None = None,
        **arguments: Any,
    ) -> None:
        self.finetuning_args = finetuning_args
        self._scoring, self._held_out = scoring, held_out
        self._clock = StepClock()
        self._sums: list[Sums] = []
        arguments["args"].reward_weights = scoring.weights
        super().__init__(reward_funcs=list(scoring.functions), callbacks=[self._clock, *(callbacks or [])], **arguments)
        self._share = can_share(self.accelerator.unwrap_model(self.model))
        if ref_model is not None and self.beta != 0.0:
            self.ref_model = (
                prepare_deepspeed(ref_model, self.accelerator)
                if self.is_deepspeed_enabled
                else self.accelerator.prepare_model(ref_model, evaluation_mode=True)
            )

    def create_optimizer(self, *arguments: Any, **named: Any) -> Any:
        """LLaMA-Factory's optimizer where the recipe names one, else the usual one."""
        if self.optimizer is None:
            self.optimizer = create_custom_optimizer(self.model, self.args, self.finetuning_args)
        return super().create_optimizer(*arguments, **named)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """LLaMA-Factory's scheduler where the recipe's optimizer has its own, else the usual one."""
        create_custom_scheduler(self.args, num_training_steps, optimizer)
        return super().create_scheduler(num_training_steps, optimizer)

    def _get_train_sampler(self, dataset: Any = None) -> EpochOrder:
        return EpochOrder(super()._get_train_sampler(dataset), self.args.seed)

    def _generate_single_turn(self, *arguments: Any, **named: Any) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        sharing = shared_prefill(model) if self._share and not self.use_vllm else nullcontext()
        with self._clock.measure("generation"), without_model_defaults(model), sharing:
            return super()._generate_single_turn(*arguments, **named)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """As TRL's, but the completions of a prompt stay together, so that they can share it; prompts come shuffled."""
        if not self.model.training:
            return self._generate_and_score_completions(generation_batch)
        steps = self.args.steps_per_generation
        if self._step % (steps * self.num_iterations) == 0 or self._buffered_inputs is None:
            self._buffered_inputs = split_tensor_dict(self._generate_and_score_completions(generation_batch), steps)
        self._step += 1
        return self._buffered_inputs[(self._step - 1) % steps]

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **others: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Log probabilities and entropies of the completions, each prompt computed once where that is less work."""
        size = batch_size or len(input_ids)
        block = math.gcd(block_size(input_ids[:, :-logits_to_keep]), size)
        prompt, config = input_ids.shape[1] - logits_to_keep, self.accelerator.unwrap_model(self.model).config
        if not (self._share and block > 1 and worth_sharing(config, prompt, logits_to_keep, block)):
            return super()._get_per_token_logps_and_entropies(  # type: ignore[no-any-return]
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **others
            )
        parts = [
            log_probabilities(model, ids, mask, logits_to_keep, block, self.temperature, compute_entropy)
            for ids, mask in zip(input_ids.split(size), attention_mask.split(size), strict=True)
        ]
        return torch.cat([p for p, _ in parts]), torch.cat(
            [e for _, e in parts if e is not None]
        ) if compute_entropy else None

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[str],
        completions: list[str],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        """Rewards of shape (completions of all processes, rewards)."""
        with self._clock.measure("reward"):
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            examples = [row["example"] for row in inputs]
            self._scoring.count_errors(samples_of(prompts, completions, completion_ids_list, examples))
        self._sums += gather_object([self._scoring.take()])
        totals = (rewards * self.reward_weights.to(rewards.device)).sum(dim=1).view(-1, self.num_generations)
        equal = torch.isclose(totals.std(dim=1), torch.zeros_like(totals[:, 0]))
        self._metrics["train" if self.model.training else "eval"]["zero_variance_groups"].append(
            equal.float().mean().item()
        )
        return rewards

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with our figures of the interval."""
        if self.model.training:
            taken, self._sums = self._sums, []
            self._metrics["train"].update({k: [v] for k, v in {**means(taken), **self._clock.take()}.items()})
        super().log(logs, start_time)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Held-out execution accuracy of greedy answers, by :class:`RewardedHeldOut`."""
        assert self._held_out is not None
        began = time.perf_counter()
        metrics = {f"{metric_key_prefix}_{k}": v for k, v in self._held_out.measure(self).items()}
        metrics[f"{metric_key_prefix}_runtime"] = round(time.perf_counter() - began, 2)
        self.model.eval()  # keeps log() from taking the figures that training has gathered
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
