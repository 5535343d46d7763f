"""Damaged weights and adapters of another base are found without loading them."""

import shutil
from pathlib import Path

import pytest

from support.tiny_model import make_adapter, make_model
from text2sql.artifacts import write_note
from text2sql.checkpoint.model import check_adapter, fingerprint, read_shapes
from text2sql.errors import UserError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=1, hidden=64)


def test_cut_weights_are_found(model: Path, tmp_path: Path) -> None:
    whole = (model / "model.safetensors").read_bytes()
    assert read_shapes(model / "model.safetensors")["model.norm.weight"] == (64,)
    for size in (0, 5, 100, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:size])
        with pytest.raises(UserError):
            read_shapes(tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    with pytest.raises(UserError, match="download it again"):
        read_shapes(tmp_path / "cut.safetensors")


def test_adapter_must_fit_its_base(model: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", model)
    check_adapter(adapter, model)
    wider = make_model(tmp_path / "wider", layers=1, hidden=128)
    with pytest.raises(UserError, match="does not fit"):
        check_adapter(adapter, wider)
    with pytest.raises(UserError, match="no layer"):
        check_adapter(make_adapter(tmp_path / "deep", make_model(tmp_path / "m", layers=2, hidden=64)), model)
    write_note(adapter / "run.json", {"base": "of other weights"})
    with pytest.raises(UserError, match="was trained on another model"):
        check_adapter(adapter, model)
    write_note(adapter / "run.json", {"base": fingerprint(model)})
    check_adapter(adapter, model)
    (adapter / "run.json").write_text('{"base": "of an older version", "status": "done"}', encoding="utf-8")
    check_adapter(adapter, model)


def test_fingerprint_follows_content_not_place(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    assert fingerprint(copy) == fingerprint(model)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert fingerprint(copy) != fingerprint(model)
