"""One world of a file's runs on two processes."""

from pathlib import Path

import pytest

from support.grpo_world import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database, questions, rewards and a random model."""
    folder = tmp_path_factory.mktemp("grpo")
    make_world(folder)
    return folder
