"""The key global_batch: accumulation follows from the processes, however they share the model."""

from pathlib import Path

import pytest

from support.recipes import ROOT
from text2sql.errors import UserError
from text2sql.recipe.batch import derive_accumulation

WHERE = Path("mine.yaml")
TP = str(ROOT / "recipes/deepspeed/zero2_tp.json")
ZERO3 = {"finetuning_type": "full", "deepspeed": str(ROOT / "recipes/deepspeed/zero3.json")}
AUTOTP = {"finetuning_type": "full", "deepspeed": TP}
MEGATRON = {"finetuning_type": "full", "tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2}
BATCH = {"global_batch": 16, "per_device_train_batch_size": 2}


@pytest.mark.parametrize(
    ("layout", "processes", "steps"),
    [
        ({}, 1, 8),
        ({}, 8, 1),
        (ZERO3, 4, 2),
        (AUTOTP, 2, 8),
        (AUTOTP, 8, 2),  # also two machines with four GPUs each: processes are those of all machines
        (MEGATRON, 4, 8),
        (MEGATRON, 16, 2),
    ],
)
def test_accumulation_fills_the_batch(layout: dict, processes: int, steps: int) -> None:
    found = derive_accumulation(BATCH | layout, WHERE, processes)
    assert found == {"per_device_train_batch_size": 2, "gradient_accumulation_steps": steps} | layout


def test_without_the_key_nothing_changes() -> None:
    recipe = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 5}
    assert (
        derive_accumulation(recipe, WHERE, 4)
        == derive_accumulation(recipe | {"global_batch": None}, WHERE, 4)
        == recipe
    )


def test_both_keys_may_agree() -> None:
    both = BATCH | {"gradient_accumulation_steps": 4}
    assert derive_accumulation(both, WHERE, 2)["gradient_accumulation_steps"] == 4
    with pytest.raises(
        UserError, match=r"global_batch 16 and gradient_accumulation_steps 4 disagree.*global_batch=32$"
    ):
        derive_accumulation(both, WHERE, 4)


@pytest.mark.parametrize(
    ("recipe", "processes", "way_out"),
    [
        ({"per_device_train_batch_size": 4}, 8, "set per_device_train_batch_size=2"),
        ({"per_device_train_batch_size": 3}, 1, "set per_device_train_batch_size=2"),
        ({}, 4, "set per_device_train_batch_size=4"),  # the engine's own is 8
        ({"per_device_train_batch_size": 2}, 6, "set global_batch=12"),
        ({"per_device_train_batch_size": 2}, 32, "set global_batch=64"),
    ],
)
def test_what_does_not_divide_is_refused_with_what_does(recipe: dict, processes: int, way_out: str) -> None:
    given = {"global_batch": 16} | recipe
    with pytest.raises(UserError, match="global_batch 16 is no multiple of per_device") as caught:
        derive_accumulation(given, WHERE, processes)
    message = str(caught.value)
    assert message.endswith(way_out)
    assert "\n" not in message
    key, value = way_out.removeprefix("set ").split("=")
    derive_accumulation(given | {key: int(value)}, WHERE, processes)
