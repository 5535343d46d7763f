"""The check of the CUDA environment, which runs elsewhere, leaves out no recipe for GPUs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "tests/gpu_profile"
RECIPES = sorted((ROOT / "recipes/qwen3_1p7b").glob("*.yaml"))
# A benchmark's, a tree's and a server's engine is infer.yaml's.
NO_GPU = {"benchmark", "evaluate", "judge", "mg2hf", "rag", "rm2hf", "score_pairs", "select", "serve", "tree"}
ON_PAIRS = ("dpo", "rm")  # made of trees, which a trained model grows: tests/tree/test_training.py trains on some


@pytest.fixture(scope="module")
def checks() -> dict[str, set[str]]:
    """Names of recipes that a check is parametrized by, for each check that scripts/check_gpu_environment.sh collects."""
    command = ["pytest", "-c", str(PROFILE / "pytest.ini"), "--collect-only", "-q", str(PROFILE)]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    found: dict[str, set[str]] = {}
    for check, name in re.findall(r"^.*::(\w+)\[(.+)\]$", done.stdout, re.MULTILINE):
        found.setdefault(check, set()).add(name)
    return found


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_checked(path: Path, checks: dict[str, set[str]]) -> None:
    stage = yaml.safe_load(path.read_text(encoding="utf-8")).get("stage")
    if stage:
        assert path.stem in checks["test_full_size"] | checks["test_full_size_by_megatron"], "say its size in EXPECTED"
        assert stage in ON_PAIRS or path.stem in checks["test_first_batch"] | checks["test_first_prompts"]
    else:
        sources = "".join(source.read_text(encoding="utf-8") for source in PROFILE.glob("check_*.py"))
        assert path.stem in NO_GPU or f"/{path.name}" in sources


def test_the_script_runs_that_collection() -> None:
    script = (ROOT / "scripts/check_gpu_environment.sh").read_text(encoding="utf-8")
    assert "pytest -c tests/gpu_profile/pytest.ini" in script
    assert "check_gpu_environment.sh" in (ROOT / ".ci/run").read_text(encoding="utf-8")
