"""GRPO of an adapter on two processes: DeepSpeed ZeRO-2 and ZeRO-3 train like plain data parallelism."""

from pathlib import Path

import pytest

from support.grpo_distributed import same_training, train

pytest.importorskip("trl")
pytest.importorskip("deepspeed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain(world: Path) -> Path:
    """The same run without DeepSpeed."""
    return train(world, "ddp", {})


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_trains_adapters_like_plain_data_parallelism(stage: int, world: Path, plain: Path) -> None:
    out = train(world, f"zero{stage}", {"deepspeed": f"recipes/deepspeed/zero{stage}.json"})
    same_training(plain, out)
