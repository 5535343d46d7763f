"""Resuming in the middle of a later epoch goes on with that epoch's order.

transformers 4.57 tells its data loader the epoch and then has accelerate make another loader that skips what was seen;
the new one starts counting epochs at zero, so a run resumed in its second epoch would shuffle as in its first, see some
examples twice and others never.
"""

from collections.abc import Iterator
from typing import Any

from accelerate.data_loader import skip_first_batches
from torch.utils.data import Sampler


def skip_in_epoch(dataloader: Any, num_batches: int = 0) -> Any:
    """accelerate's ``skip_first_batches``, with the epoch of the loader that it was given."""
    rest = skip_first_batches(dataloader, num_batches)
    if hasattr(dataloader, "iteration"):
        rest.iteration = dataloader.iteration
    return rest


class EpochOrder(Sampler[int]):  # type: ignore[misc]
    """A sampler that shuffles by a generator of its own, seeded for each epoch instead of once.

    TRL's goes on with one generator, which a run that is resumed in its second epoch would start anew.
    """

    def __init__(self, sampler: Any, seed: int) -> None:
        self._sampler, self._seed, self._epoch = sampler, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate at the start of each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if getattr(self._sampler, "generator", None) is not None:
            self._sampler.generator.manual_seed(self._seed + self._epoch)
        return iter(self._sampler)

    def __len__(self) -> int:
        return len(self._sampler)


def keep_order() -> None:
    """Let transformers' trainer, in this process, resume so; doing it twice changes nothing."""
    from transformers import trainer

    trainer.skip_first_batches = skip_in_epoch
