"""Scripts: help from any folder, one line for every mistake, and environments that are trusted only when whole."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.sh") if path.name != "lib.sh")
TAKES_RECIPE = ["qwen3_1p7B_train.sh", "merge_hf_lora.sh", "prepare_data.sh", "infer_vllm.sh", "evaluate_sql.sh"]
TAKES_RECIPE += ["select_sql.sh", "serve_api.sh", "build_revision_tree.sh", "dpo_train.sh", "reward_model_train.sh"]


def bash(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", *command], cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that an error is; commands shown before it do not count."""
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("+ ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_help_from_any_folder(script: Path, tmp_path: Path) -> None:
    done = bash(str(script), "--help", cwd=tmp_path, TEXT2SQL_ENV_DIR=str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: bash scripts/{script.name}")
    assert not (tmp_path / "none").exists(), "asking for help makes no environment"


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / "scripts/lib.sh", ROOT / ".ci/run"], ids=lambda p: p.name)
def test_scripts_are_sound(script: Path) -> None:
    assert bash("-n", str(script)).returncode == 0
    text = script.read_text(encoding="utf-8")
    if script.name != "lib.sh":
        assert text.startswith("#!/usr/bin/env bash\n")
        assert "set -euo pipefail\n" in text
        assert os.access(script, os.X_OK)
    for folder in ("work", "opt", "root", "home"):
        assert f"/{folder}/" not in text


@pytest.mark.parametrize("name", TAKES_RECIPE)
def test_wrong_recipes_end_in_one_line(name: str, tmp_path: Path) -> None:
    script = str(ROOT / "scripts" / name)
    assert "no such recipe" in only_line(bash(script, "recipes/none.yaml", cwd=tmp_path))
    assert "one recipe at a time" in only_line(bash(script, "a.yaml", "b.yaml", cwd=tmp_path))
    assert "No such option: --fast" in only_line(bash(script, "recipes/tiny/lora_qv_sft.yaml", "--fast", cwd=tmp_path))


@pytest.mark.parametrize(
    ("name", "key"),
    [("measure_toy.sh", "seed"), ("measure_toy.sh", "output_dir"), ("measure_grpo.sh", "model_name_or_path")],
)
def test_measuring_scripts_refuse_what_they_set_themselves(name: str, key: str, tmp_path: Path) -> None:
    line = only_line(bash(str(ROOT / "scripts" / name), f"{key}=42", cwd=tmp_path))
    assert line.startswith(f"error: {key}: this script sets it itself")
    assert "seeds=" in line


def test_mistakes_pass_through_the_script_as_one_line(tmp_path: Path) -> None:
    script, recipe = str(ROOT / "scripts/qwen3_1p7B_train.sh"), ROOT / "recipes/tiny/lora_qv_sft.yaml"
    (tmp_path / "mine.yaml").write_text(recipe.read_text(encoding="utf-8"), encoding="utf-8")
    done = bash(script, "mine.yaml", "model_name_or_path=models/none", cwd=tmp_path)
    assert "models/none: no such model folder" in only_line(done)
    assert "+ text2sql train mine.yaml model_name_or_path=models/none" in done.stderr


def in_lib(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return bash("-c", f"set -euo pipefail; source {ROOT}/scripts/lib.sh; {code}", **environment)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("kind", ["train", "vllm"])
def test_an_environment_is_trusted_only_with_the_stamp_of_its_lock(kind: str, device: str, tmp_path: Path) -> None:
    given = {"TEXT2SQL_ENV_DIR": str(tmp_path), "TEXT2SQL_DEVICE": device}
    folder = tmp_path / (".venv-vllm" if (kind, device) == ("vllm", "cpu") else ".venv")
    folder.mkdir()
    (folder / "pyvenv.cfg").touch()
    ready = f"env_is_ready {kind}"
    assert in_lib(ready, **given).returncode != 0, "half-made"
    lock, linked = in_lib(f"env_stamp {kind}", **given).stdout.splitlines()
    assert linked.endswith(f" {ROOT}")
    stamp = folder / ".text2sql-lock"
    stamp.write_text(f"{lock}\n{linked}\n", encoding="utf-8")
    assert in_lib(ready, **given).returncode == 0
    stamp.write_text(f"{lock}\n{linked.split()[0]} /another/checkout\n", encoding="utf-8")
    assert in_lib(ready, **given).returncode != 0
    stamp.write_text(f"{lock}\n{'0' * 16} {ROOT}\n", encoding="utf-8")
    assert in_lib(ready, **given).returncode != 0, "its commands are of another pyproject.toml"
    stamp.write_text(f"{'0' * 64}\n{linked}\n", encoding="utf-8")
    assert in_lib(ready, **given).returncode != 0, "of another lock"


def test_paths_are_the_users_first(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/here.yaml").touch()
    code = (
        f"source {ROOT}/scripts/lib.sh; absolute recipes/here.yaml; absolute recipes/tiny/lora_qv_sft.yaml; absolute /x"
    )
    done = bash("-c", code, cwd=tmp_path)
    assert done.stdout.split() == [f"{tmp_path}/recipes/here.yaml", "recipes/tiny/lora_qv_sft.yaml", "/x"]


def test_setup_wants_python_311_or_312(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    setup = str(ROOT / "scripts/setup.sh")
    envs = str(tmp_path / "envs")
    assert "not Python 3.11 or 3.12" in only_setup_error(bash(setup, TEXT2SQL_PYTHON=str(old), TEXT2SQL_ENV_DIR=envs))
    for name in ("python3.11", "python3.12", "python3", "python"):
        (tmp_path / name).write_text("#!/bin/sh\necho Python 3.9.1\nexit 1\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    done = bash(setup, PATH=f"{tmp_path}:{os.environ['PATH']}", TEXT2SQL_ENV_DIR=envs)
    assert "Python 3.11 or 3.12 is needed" in only_setup_error(done)
    assert "Python 3.9.1" in done.stderr


def only_setup_error(done: subprocess.CompletedProcess[str]) -> str:
    """Setup says what it is doing before it fails; the error is the last line, and no traceback."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_setup_refuses_unknown_environments_and_foreign_folders(tmp_path: Path) -> None:
    setup = str(ROOT / "scripts/setup.sh")
    assert "train or vllm" in only_setup_error(bash(setup, "gpu", TEXT2SQL_ENV_DIR=str(tmp_path)))
    assert "cpu or cuda" in only_setup_error(bash(setup, TEXT2SQL_DEVICE="tpu", TEXT2SQL_ENV_DIR=str(tmp_path)))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/thesis.txt").touch()
    assert "not a Python environment" in only_setup_error(bash(setup, TEXT2SQL_ENV_DIR=str(tmp_path)))
    assert (tmp_path / ".venv/thesis.txt").is_file()


def test_setup_without_a_package_index(tmp_path: Path) -> None:
    done = bash(
        str(ROOT / "scripts/setup.sh"),
        TEXT2SQL_ENV_DIR=str(tmp_path),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(tmp_path / "none"),
    )
    assert "no package index can be reached" in only_setup_error(done)
    assert not (tmp_path / ".venv/.text2sql-lock").exists(), "what was begun is not trusted"


def test_locks_pin_every_package() -> None:
    for path in (ROOT / "requirements").glob("*-c*.txt"):
        if path.name.startswith("overrides"):
            continue
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert lines
        for line in lines:
            name, pin, version = line.partition("==")
            assert pin and name and version and "/" not in line, f"{path.name}: {line}"
            assert "+" not in version, f"{path.name}: {line} names one machine's build"


def test_both_training_locks_agree() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
        return dict(line.split("==") for line in text.splitlines() if "==" in line)

    cpu, cuda = pins("train-cpu"), pins("train-cuda")
    differing = {name for name in cpu.keys() & cuda.keys() if cpu[name] != cuda[name]}
    assert differing <= {"torch", "protobuf", "numpy"}, "wandb and swanlab hold protobuf back, vLLM numpy"
    assert not cpu.keys() - cuda.keys()
    assert cuda["vllm"].startswith(("0.10.2", "0.11.")), "what TRL 0.24 knows"


@pytest.mark.parametrize("name", ["train-cpu", "vllm-cpu"])
def test_locks_for_cpus_hold_nothing_for_gpus(name: str) -> None:
    text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
    for word in ("nvidia-", "cuda-", "triton==", "torchvision", "torchaudio", "torchcodec"):
        assert word not in text
