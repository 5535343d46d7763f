"""A program in llamafactory-cli's place, to see what the launcher does with its output and its end."""

import sys
from pathlib import Path

import pytest


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    """Put ``body`` in llamafactory-cli's place, beside a Python of the same name; returns a path for its log."""
    program = tmp_path / "llamafactory-cli"
    program.write_text(f"#!{sys.executable}\n{body}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path / "log" / "train.log"
