"""README's commands for GPUs train, merge, answer with and score one model: each reads what the one before it wrote."""

import re
import shlex
from pathlib import Path

import pytest

from text2sql.recipe import load_recipe

ROOT = Path(__file__).parents[2]


def commands(readme: Path) -> dict[str, dict[str, object]]:
    """The recipe, overrides applied, of each script in the block that downloads the model."""
    text = readme.read_text(encoding="utf-8")
    block = next(b for b in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) if "download_model.sh" in b)
    found = {}
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        recipes = [word for word in words if word.endswith(".yaml")]
        if recipes:
            overrides = [word for word in words if "=" in word]
            found[Path(words[1]).name] = dict(load_recipe(ROOT / recipes[0], overrides))
    return found


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_one_model_goes_through(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    by_script = commands(ROOT / name)
    prepare, train = by_script["prepare_data.sh"], by_script["qwen3_1p7B_train.sh"]
    merge, infer, evaluate = (by_script[f"{script}.sh"] for script in ("merge_hf_lora", "infer_vllm", "evaluate_sql"))
    assert train["dataset"] == f"{prepare['name']}_train"
    assert merge["adapter_name_or_path"] == train["output_dir"]
    assert merge["model_name_or_path"] == train["model_name_or_path"]
    assert infer["model_name_or_path"] == merge["export_dir"]
    assert str(infer["examples"]).startswith(str(prepare["output"]))
    assert evaluate["predictions"] == infer["output"]
    assert evaluate["examples"] == infer["examples"]
    assert str(evaluate["database_root"]).startswith(str(prepare["folder"]))
    trained = Path(str(train["output_dir"])).name
    assert all(trained in str(place) for place in (merge["export_dir"], infer["output"], evaluate["output_dir"]))
