"""The console command: a fast overview, commands that import what they need, and mistakes in one line."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from text2sql.cli import COMMANDS, load

ROOT = Path(__file__).parents[1]


def text2sql(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "text2sql", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_overview_imports_nothing_heavy() -> None:
    code = "import sys; sys.argv = ['text2sql', '--help']; from text2sql.cli import main; main()"
    show = "; heavy = {'torch', 'pydantic', 'rich', 'omegaconf', 'transformers'} & set(sys.modules); print('heavy:', heavy)"
    done = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: set()\n")
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert "..." not in done.stdout.partition("Commands:")[2], "a help line is cut"


def test_the_overview_takes_less_than_half_a_second_of_cpu_time() -> None:
    before = os.times()
    assert text2sql("--help").returncode == 0
    after = os.times()
    assert (after.children_user - before.children_user) + (after.children_system - before.children_system) < 0.5


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_explains_itself(name: str) -> None:
    app = load(name)
    command = typer.main.get_command(app)
    assert command.help and len(command.help) > 20


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    for arguments, words in (
        (["trian"], "Did you mean 'train'?"),
        (["train", "--fast"], "No such option: --fast"),
        (["train", "none.yaml"], "none.yaml: no such recipe"),
        (["plan", "recipes/tiny/lora_qv_sft.yaml", "--gpus", "0"], "'--gpus'"),
    ):
        done = text2sql(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        assert words in done.stderr


def test_recipes_and_paths_are_found_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text((ROOT / "recipes/tiny/lora_qv_sft.yaml").read_text(encoding="utf-8"))
    assert "Fits" in text2sql("plan", "mine.yaml", "--memory", "24", cwd=tmp_path).stdout
    assert "Fits" in text2sql("plan", "recipes/tiny/lora_qv_sft.yaml", "--memory", "24", cwd=tmp_path).stdout


def test_the_console_command_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"text2sql": "text2sql.cli:main"}
