"""Records and recipes: what is written is read back, and every slip ends in one line that names the place."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from text2sql.errors import UserError
from text2sql.recipe import load_recipe, options_from
from text2sql.records import Example, Prediction, read_jsonl, write_jsonl

EXAMPLE = Example("q1", "shop", "有多少 items?", "CREATE TABLE item (name TEXT);", "SELECT count(*) FROM item")


def test_examples_survive_the_disk(tmp_path: Path):
    path = tmp_path / "deep" / "examples.jsonl"
    assert write_jsonl(path, [EXAMPLE, EXAMPLE]) == 2
    assert list(read_jsonl(path, Example)) == [EXAMPLE, EXAMPLE]
    assert [file.name for file in path.parent.iterdir()] == ["examples.jsonl"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"question_id": "a", "db_id": "b"', "delimiter"),
        ("[1]", "expected an object, found list"),
        ('{"question_id": "a", "db_id": "b"}', "missing key: pred"),
        ('{"question_id": 7, "db_id": "b", "pred": "x"}', "'question_id' should be"),
        ('{"question_id": "a", "db_id": "b", "pred": "x", "sample": "0"}', "'sample' should be"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, line: str, reason: str):
    path = tmp_path / "p.jsonl"
    path.write_text('{"question_id": "a", "db_id": "b", "pred": "x"}\n\n' + line + "\n")
    with pytest.raises(UserError) as caught:
        list(read_jsonl(path, Prediction))
    assert str(caught.value).startswith(f"{path}:3: ")
    assert reason in str(caught.value)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"question_id": "\xff"}\n')
    with pytest.raises(UserError, match=r"p\.jsonl:1: .*utf-8"):
        list(read_jsonl(path, Prediction))


@dataclass(frozen=True)
class Options:
    output: Path
    size: int
    rate: float = 0.5
    mode: Literal["a", "b"] = "a"
    names: list[str] | None = None


def test_overrides_win_and_become_typed(tmp_path: Path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("output: out\nsize: 3\n")
    options = options_from(Options, load_recipe(recipe, ["size=5", "rate=1", "names=[x, y]"]), "r.yaml")
    assert options == Options(Path("out"), 5, 1.0, "a", ["x", "y"])


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["szie=4"], "unknown key 'szie'; did you mean 'size'?"),
        (["size=many"], "size should be int, not 'many'"),
        (["mode=c"], "mode is one of a, b, not 'c'"),
        (["size"], "an override is written key=value"),
        (["--size=4"], "an override is written key=value"),
    ],
)
def test_a_wrong_override_is_refused_by_name(tmp_path: Path, overrides: list[str], reason: str):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("output: out\nsize: 3\n")
    with pytest.raises(UserError) as caught:
        options_from(Options, load_recipe(recipe, overrides), str(recipe))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", "size: 3\n"])
def test_a_recipe_that_is_none_is_refused(tmp_path: Path, text: str):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(text)
    with pytest.raises(UserError, match=r"r\.yaml"):
        options_from(Options, load_recipe(recipe, []), str(recipe))


def test_rows_are_json_lines(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"问": "题"}])
    assert json.loads(path.read_text(encoding="utf-8")) == {"问": "题"}
    assert "题" in path.read_text(encoding="utf-8")
