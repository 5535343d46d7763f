"""What several test modules set up."""

import sys
from pathlib import Path

import pytest


@pytest.fixture
def their_rewards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's on the path."""
    from support.grpo_world import REWARD

    (tmp_path / "their_rewards.py").write_text(REWARD, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_rewards", raising=False)
