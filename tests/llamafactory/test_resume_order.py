"""A later epoch's order survives resuming in its middle."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.data_loader import skip_first_batches
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader

from text2sql.llamafactory.training import keep_order, skip_in_epoch


def loader(epoch: int):
    torch.manual_seed(7)
    prepared = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True)).prepare(
        DataLoader(list(range(24)), batch_size=4, shuffle=True)
    )
    prepared.set_epoch(epoch)
    return prepared


def batches(loader) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_the_rest_of_an_epoch_is_what_is_left_of_it(epoch: int) -> None:
    assert batches(skip_in_epoch(loader(epoch), 2)) == batches(loader(epoch))[2:]


def test_epochs_have_orders_of_their_own_which_accelerate_alone_forgets() -> None:
    assert batches(loader(0)) != batches(loader(1))
    assert batches(skip_first_batches(loader(1), 2)) == batches(loader(0))[2:], "mended upstream: drop our own"


def test_the_trainer_resumes_so() -> None:
    from transformers import trainer

    keep_order()
    keep_order()
    assert trainer.skip_first_batches is skip_in_epoch
