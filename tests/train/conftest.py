"""One process, which runs of several are compared with; STEPS, SAVE and BATCH are those of the test file."""

from pathlib import Path

import pytest

from support.parallel_runs import Training, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and base."""
    return tmp_path_factory.mktemp("parallel")


@pytest.fixture(scope="module")
def given(world: Path, request: pytest.FixtureRequest) -> list[str]:
    """The overrides that all runs of a file share."""
    return [*make_world(world, request.module.STEPS, request.module.SAVE), f"global_batch={request.module.BATCH}"]


@pytest.fixture(scope="module")
def full(world: Path, given: list[str], request: pytest.FixtureRequest) -> Path:
    """Full fine-tuning by one process."""
    keys = [*given, f"per_device_train_batch_size={request.module.BATCH}"]
    return Training("full_sft", keys, world / "full", 1).finish().out
