"""The code of CONTRIBUTING.md runs as it stands there: a user's reward, a data source and an engine."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from text2sql.records import Example, write_jsonl

ROOT = Path(__file__).parents[1]
GOLD = "SELECT name FROM shop"


def block(start: str) -> str:
    """The one code block of CONTRIBUTING.md that begins so."""
    found = re.findall(r"^```\w+\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M | re.S)
    (only,) = [text for text in found if text.startswith(start)]
    return only


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(source: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{source}:{ROOT / 'test-suite-sql-eval'}", "COLUMNS": "200"}
    command = [sys.executable, "-m", "text2sql", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def databases(tmp_path: Path) -> Path:
    folder = tmp_path / "data/prepared/toy/database"
    (folder / "shop").mkdir(parents=True)
    with sqlite3.connect(folder / "shop/shop.sqlite") as connection:
        connection.executescript("CREATE TABLE shop (name TEXT); INSERT INTO shop VALUES ('Ann'), ('Bo');")
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, to be edited as the text says."""
    shutil.copytree(ROOT / "src/text2sql", tmp_path / "src/text2sql", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "recipes/data").mkdir(parents=True)
    return tmp_path / "src"


def test_the_reward_scores(tmp_path: Path, databases: Path) -> None:
    (tmp_path / "my_rewards.py").write_text(block("# my_rewards.py"), encoding="utf-8")
    example = {"db_id": "shop", "sql": GOLD}
    answers = [GOLD, f"SELECT name FROM (SELECT name FROM ({GOLD}))", "SELECT 'Ann'"]
    write_jsonl(tmp_path / "answers.jsonl", [{"completion": answer, **example} for answer in answers])
    options = ["--rewards", "my_rewards:short_match", "--input", "answers.jsonl", "--output", "scored.jsonl"]
    run(ROOT / "src", "rewards", "score", *options, "--database-root", databases, "--jobs", 0, cwd=tmp_path)
    scored = [json.loads(line) for line in (tmp_path / "scored.jsonl").read_text().splitlines()]
    assert [row["rewards"]["short_match"] for row in scored] == [1.0, 0.0, 0.0]
    assert scored[0]["reward"] == 0.5


def test_the_data_source_prepares(tmp_path: Path, databases: Path, copy: Path) -> None:
    replace(copy / "text2sql/data/sources.py", "_LAYOUTS = {\n", block("def _forum_row"))
    recipe = tmp_path / "recipes/data/forum.yaml"
    recipe.write_text(block("# recipes/data/forum.yaml"), encoding="utf-8")
    posts = [f"Which shops?\n---\n{GOLD}", "Which shops, please?", "Which owners?\n---\nSELECT owner FROM shop"]
    write_jsonl(tmp_path / "data/cache/forum/posts.jsonl", [{"post": post, "database": "shop"} for post in posts])
    run(copy, "data", "recipes/data/forum.yaml", cwd=tmp_path)
    prepared = tmp_path / "data/prepared/forum"
    (example,) = [json.loads(line) for line in (prepared / "examples/train.jsonl").read_text().splitlines()]
    assert (example["question"], example["sql"], example["db_id"]) == ("Which shops?", GOLD, "shop")
    rejected = [json.loads(line)["reason"] for line in (prepared / "rejected.jsonl").read_text().splitlines()]
    assert rejected == ["empty value", "gold does not run (no_such_column)"]


def test_the_engine_answers(tmp_path: Path, copy: Path) -> None:
    (copy / "text2sql/generate/constant.py").write_text(block("# src/text2sql/generate/constant.py"), encoding="utf-8")
    replace(copy / "text2sql/generate/types.py", '"openai"]\n', '"openai", "constant"]\n')
    opened = block('    if name == "constant":')
    replace(copy / "text2sql/generate/__init__.py", opened.splitlines(keepends=True)[-1], opened)
    shutil.copy(ROOT / "recipes/tiny/infer.yaml", tmp_path / "recipes/infer.yaml")
    write_jsonl(tmp_path / "questions.jsonl", [Example(f"q{i}", "shop", "Which shops?", "", GOLD) for i in range(2)])
    keys = ["engine=constant", f"model_name_or_path={ROOT / 'models/tiny-base'}", "examples=questions.jsonl"]
    run(copy, "infer", "recipes/infer.yaml", *keys, "output=out.jsonl", cwd=tmp_path)
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(answer["question_id"], answer["pred"]) for answer in answers] == [("q0", "SELECT 1"), ("q1", "SELECT 1")]
