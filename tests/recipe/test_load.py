"""Paths that a user types start where the user is, if they are there."""

from pathlib import Path

import pytest

from text2sql.recipe.load import from_caller, overrides_from_caller


@pytest.fixture
def caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("my.csv", "my.sqlite", "vllm"):
        (tmp_path / name).touch()
    monkeypatch.setenv("TEXT2SQL_CALLER_DIR", str(tmp_path))
    return tmp_path


def test_paths_of_the_caller_come_first(caller: Path) -> None:
    assert from_caller("my.csv") == f"{caller}/my.csv"
    assert from_caller("recipes/tiny/infer.yaml") == "recipes/tiny/infer.yaml"
    assert from_caller("/x") == "/x"
    assert from_caller("[my.csv, other.csv]") == f"[{caller}/my.csv,other.csv]"


def test_only_keys_that_are_paths_are_touched(caller: Path) -> None:
    given = ["files.train=[my.csv]", "schema=my.sqlite", "engine=vllm", "seed=7", "dataset=my.csv"]
    assert overrides_from_caller(given) == [
        f"files.train=[{caller}/my.csv]",
        f"schema={caller}/my.sqlite",
        "engine=vllm",
        "seed=7",
        "dataset=my.csv",
    ]


def test_what_is_written_lands_where_the_user_is(caller: Path) -> None:
    given = ["output_dir=eval", "output=p.jsonl", "ledger=null", "export_dir=/models/x"]
    assert overrides_from_caller(given) == [
        f"output_dir={caller}/eval",
        f"output={caller}/p.jsonl",
        "ledger=null",
        "export_dir=/models/x",
    ]


def test_in_the_repository_paths_stay_as_they_are(caller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(caller)
    assert overrides_from_caller(["output_dir=eval"]) == ["output_dir=eval"]


def test_files_start_in_the_folder_that_is_named(caller: Path) -> None:
    assert overrides_from_caller(["files.train=my.csv", "folder=data"]) == ["files.train=my.csv", "folder=data"]


def test_without_a_caller_nothing_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TEXT2SQL_CALLER_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.csv").touch()
    assert overrides_from_caller(["schema=my.csv"]) == ["schema=my.csv"]
