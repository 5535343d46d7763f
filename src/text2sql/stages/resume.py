"""Resuming in the middle of a later epoch goes on with that epoch's order.

transformers 4.57 tells its data loader the epoch and then has accelerate make another loader that skips what was seen;
the new one starts counting epochs at zero, so a run resumed in its second epoch would shuffle as in its first, see some
examples twice and others never.
"""

from typing import Any

from accelerate.data_loader import skip_first_batches


def skip_in_epoch(dataloader: Any, num_batches: int = 0) -> Any:
    """accelerate's ``skip_first_batches``, with the epoch of the loader that it was given."""
    rest = skip_first_batches(dataloader, num_batches)
    if hasattr(dataloader, "iteration"):
        rest.iteration = dataloader.iteration
    return rest


def keep_order() -> None:
    """Let transformers' trainer, in this process, resume so; doing it twice changes nothing."""
    from transformers import trainer

    trainer.skip_first_batches = skip_in_epoch
