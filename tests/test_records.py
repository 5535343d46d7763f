"""Records and recipes: what is written is read back, and every slip ends in one line that names the place."""

import json
from pathlib import Path
from typing import Literal

import pytest
from pydantic.dataclasses import dataclass as pydantic_dataclass

from text2sql.errors import UserError
from text2sql.recipe import STRICT, load_recipe, options_from
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
        ('{"question_id": "a", "db_id": "b"', "not JSON (EOF while parsing an object"),
        ('{"question_id": "a", "db_id": "b", "pred": "x"} {}', "not JSON (trailing characters"),
        ("[1]", "should be an object, not [1]"),
        ("null", "should be an object, not None"),
        ('{"question_id": "a", "db_id": "b"}', "missing pred"),
        ('{"question_id": 7, "db_id": "b", "pred": "x"}', "question_id should be string, not 7"),
        ('{"question_id": "a", "db_id": "b", "pred": "x", "sample": "0"}', "sample should be integer, not '0'"),
        ('{"question_id": "a", "db_id": "b", "pred": "x", "sample": 0.0}', "sample should be integer, not 0.0"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, line: str, reason: str):
    path = tmp_path / "p.jsonl"
    path.write_text('{"question_id": "a", "db_id": "b", "pred": "x", "more": 1}\n\n' + line + "\n")
    with pytest.raises(UserError) as caught:
        list(read_jsonl(path, Prediction))
    assert str(caught.value).startswith(f"{path}:3: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        b'{"question_id": "a", "db_id": "b", "pred": "\xff"}\n',
        b'{"question_id": "a", "db_id": "b", "pred": "x", "ignored": "\xff"}\n',
        '{"question_id": "a", "db_id": "b", "pred": "题'.encode()[:-1],
    ],
)
def test_a_line_that_is_not_utf8_or_torn_is_named(tmp_path: Path, row: bytes):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"question_id": "a", "db_id": "b", "pred": "x"}\n' + row)
    with pytest.raises(UserError, match=r"p\.jsonl:2: not JSON \((invalid unicode code point|EOF while parsing)"):
        list(read_jsonl(path, Prediction))


@pydantic_dataclass(frozen=True, kw_only=True, config=STRICT)
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
    assert options == Options(output=Path("out"), size=5, rate=1.0, mode="a", names=["x", "y"])


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["szie=4"], "unknown key 'szie'; did you mean 'size'?"),
        (["size=many"], "size should be integer, not 'many'"),
        (["mode=c"], "mode is one of a or b, not 'c'"),
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
