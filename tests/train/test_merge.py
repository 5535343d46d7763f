"""Merging an adapter: mistakes end in one line, and a failed export leaves no model."""

import shutil
from pathlib import Path

import pytest

from support.stand_in import stand_in
from support.tiny_model import make_adapter, make_model
from text2sql.errors import UserError
from text2sql.train.merge import merge

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=1, hidden=64)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["adapter_name_or_path=outputs/none"], "train one first"),
        (["adapter_name_or_path=null"], "adapter_name_or_path is missing"),
        (["model_name_or_path=models/none"], "no such model folder"),
        (["export_dir={model}"], "folder of its own"),
        (["export_sise=5"], "'export_size'"),
    ],
)
def test_merging_mistakes_end_in_one_line(
    wrong: list[str], words: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    adapter = make_adapter(tmp_path / "adapter", model)
    given = [f"model_name_or_path={model}", f"adapter_name_or_path={adapter}", f"export_dir={tmp_path / 'merged'}"]
    with pytest.raises(UserError, match=words):
        merge(ROOT / "recipes/tiny/merge_lora.yaml", given + [text.format(model=model) for text in wrong])
    assert not (tmp_path / "merged").exists()


def test_a_failed_export_leaves_no_model(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = make_adapter(tmp_path / "adapter", model)
    monkeypatch.setattr("text2sql.train.merge.known_arguments", lambda _: dict.fromkeys(("x",)))
    monkeypatch.setattr("text2sql.train.merge.check_arguments", lambda *_: None)
    stand_in(tmp_path, monkeypatch, "raise SystemExit(1)")
    given = [f"model_name_or_path={model}", f"adapter_name_or_path={adapter}", f"export_dir={tmp_path / 'merged'}"]
    with pytest.raises(UserError, match="export failed"):
        merge(ROOT / "recipes/tiny/merge_lora.yaml", given)
    assert not (tmp_path / "merged").exists()


def test_another_adapters_merge_is_replaced_only_when_told(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (make_adapter(tmp_path / name, model, seed=seed) for name, seed in (("first", 1), ("second", 2)))
    exported: list[str] = []

    def export(recipe: dict, partial: Path) -> None:
        exported.append(recipe["adapter_name_or_path"])
        shutil.copy(model / "model.safetensors", partial)

    monkeypatch.setattr("text2sql.train.merge._export", export)
    out = tmp_path / "merged"

    def merged(adapter: Path, *more: str) -> None:
        given = [f"model_name_or_path={model}", f"adapter_name_or_path={adapter}", f"export_dir={out}"]
        merge(ROOT / "recipes/tiny/merge_lora.yaml", [*given, *more])

    merged(first)
    merged(first)
    assert exported == [str(first)], "done already"
    with pytest.raises(UserError, match=r"holds the merge of .*first, not of .*second; .*overwrite_export_dir=true"):
        merged(second)
    make_adapter(first, model, seed=3)
    merged(first)
    merged(second, "overwrite_export_dir=true")
    merged(second)
    assert exported == [str(first), str(first), str(second)]
