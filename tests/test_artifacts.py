"""Finished work: whole or not there, one process at a time, and current only when made of the same."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from text2sql import artifacts
from text2sql.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    artifacts.write_text(path, "old")
    with pytest.raises(RuntimeError), artifacts.whole_file(path) as out:
        out.write("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert names(path.parent) == ["a.txt"]
    with artifacts.whole_file(path, "wb") as binary:
        binary.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    artifacts.write_text(path, "old")
    code = (
        "import os, sys, pathlib; from text2sql.artifacts import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as out: out.write('new'); out.flush(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_a_folder_replaces_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / "left over").touch()
    with pytest.raises(RuntimeError), artifacts.whole_folder(folder):
        raise RuntimeError
    assert names(folder) == ["old"]
    with artifacts.whole_folder(folder) as partial:
        (partial / "new").touch()
        with pytest.raises(UserError, match="another process"), artifacts.whole_folder(folder):
            pass
    assert names(folder) == ["new"]
    assert names(tmp_path) == ["model"]


def test_the_lock_lives_as_long_as_a_child_that_inherited_it(tmp_path: Path) -> None:
    with artifacts.only_one(tmp_path) as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    with pytest.raises(UserError, match="another process"), artifacts.only_one(tmp_path):
        pass
    child.communicate(b"\n")
    with artifacts.only_one(tmp_path):
        pass


def test_a_result_is_current_while_it_is_made_of_the_same(tmp_path: Path) -> None:
    note, made_of = tmp_path / "note.json", {"base": "abc", "recipe": {"b": 1, "a": Path("x")}}
    assert not artifacts.is_current(note, made_of)
    artifacts.write_note(note, made_of, steps=3)
    assert artifacts.is_current(note, {"recipe": {"a": "x", "b": 1}, "base": "abc"})
    assert not artifacts.is_current(note, {**made_of, "base": "abd"})
    assert json.loads(note.read_text())["steps"] == 3
    note.write_text(note.read_text()[:-9])
    assert not artifacts.is_current(note, made_of)


def test_somebody_elses_folder_is_not_replaced(tmp_path: Path) -> None:
    artifacts.check_own(tmp_path / "none", "note.json", "output_dir")
    artifacts.check_own(tmp_path, "note.json", "output_dir")
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="choose another output_dir"):
        artifacts.check_own(tmp_path, "note.json", "output_dir")
    artifacts.write_note(tmp_path / "note.json", {})
    artifacts.check_own(tmp_path, "note.json", "output_dir")


def test_digests_follow_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(os.urandom(3 << 20))
    two.write_bytes(one.read_bytes())
    assert artifacts.digest(one) == artifacts.digest(two) != artifacts.digest(one, two)
    assert len(artifacts.digest(one)) == 16
    assert (
        artifacts.digest_of({"a": 1, "b": 2}) == artifacts.digest_of({"b": 2, "a": 1}) != artifacts.digest_of({"a": 1})
    )
