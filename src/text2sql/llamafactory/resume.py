"""A run resumed in the middle of an epoch continues with that epoch's order of examples.

transformers 4.57 tells its data loader the epoch, and then has accelerate make another loader that skips the examples seen.
The new loader counts epochs from zero, so a run resumed in its second epoch would shuffle as in its first: it would see
some examples twice and others never.
"""

from collections.abc import Iterator
from typing import Any

from accelerate.data_loader import skip_first_batches
from torch.utils.data import Sampler


def skip_in_epoch(dataloader: Any, num_batches: int = 0) -> Any:
    """accelerate's ``skip_first_batches``, which here keeps the epoch of the loader given."""
    rest = skip_first_batches(dataloader, num_batches)
    if hasattr(dataloader, "iteration"):
        rest.iteration = dataloader.iteration
    return rest


class EpochOrder(Sampler[int]):  # type: ignore[misc]
    """Another sampler, whose generator is seeded for each epoch instead of once.

    TRL seeds its sampler once, so a run resumed in its second epoch would repeat the order of the first.
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
    """Make transformers' trainer in this process use :func:`skip_in_epoch`; a second call changes nothing."""
    from transformers import trainer

    trainer.skip_first_batches = skip_in_epoch
