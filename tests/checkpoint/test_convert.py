"""The converter: every layout bit by bit, and whatever is half-written, damaged or of another kind in one line."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.megatron_files import TRACKER, write_megatron
from support.tiny_model import make_adapter, make_model
from text2sql.artifacts import read_note
from text2sql.checkpoint.convert import Mg2hfOptions, convert
from text2sql.errors import UserError
from text2sql.recipe.megatron import adapter_is_here

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A tied and an untied model of four layers, four heads on two key-value heads."""
    place = tmp_path_factory.mktemp("bases")
    return {
        tied: make_model(place / str(tied), layers=4, vocab_size=448, tie_word_embeddings=tied)
        for tied in (True, False)
    }


def options(checkpoint: Path, out: Path, base: Path, **more: Any) -> Mg2hfOptions:
    return Mg2hfOptions(checkpoint=checkpoint, output_dir=out, model_name_or_path=base, **more)


def same_weights(base: Path, converted: Path) -> None:
    expected, found = load_file(base / "model.safetensors"), load_file(converted / "model.safetensors")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("pp", [1, 2])
@pytest.mark.parametrize("tp", [1, 2])
def test_every_layout_comes_back_bit_by_bit(
    tp: int, pp: int, tied: bool, bases: dict[bool, Path], tmp_path: Path
) -> None:
    checkpoint = write_megatron(bases[tied], tmp_path / "mg", tp, pp)
    report = convert(options(checkpoint, tmp_path / "hf", bases[tied], reference=bases[tied], tolerance=0.0))
    same_weights(bases[tied], tmp_path / "hf")
    assert report.logits_difference == 0.0
    assert report.equal_tensors == 4 * 8 + (2 if tied and pp == 1 else 3)
    for name in ("tokenizer.json", "generation_config.json", "chat_template.jinja"):
        assert (tmp_path / "hf" / name).read_bytes() == (bases[tied] / name).read_bytes()
    for key, value in json.loads((bases[tied] / "config.json").read_text(encoding="utf-8")).items():
        assert json.loads((tmp_path / "hf/config.json").read_text(encoding="utf-8"))[key] == value


def test_virtual_stages_padded_vocabulary_and_transformer_engines_names(
    bases: dict[bool, Path], tmp_path: Path
) -> None:
    base = bases[True]
    convert(options(write_megatron(base, tmp_path / "vp", 2, 2, chunks=2), tmp_path / "a", base))
    convert(options(write_megatron(base, tmp_path / "te", 2, 1, padding=64, te=True), tmp_path / "b", base))
    same_weights(base, tmp_path / "a")
    same_weights(base, tmp_path / "b")


@pytest.mark.skipif(adapter_is_here(), reason="mcore_adapter is installed and would read this made-up configuration")
def test_configuration_from_mcore_adapters_own_and_another_dtype(bases: dict[bool, Path], tmp_path: Path) -> None:
    base, checkpoint = bases[True], write_megatron(bases[True], tmp_path / "mg", 2, 1)
    own = {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 1}
    own["hf_config_json"] = (base / "config.json").read_text(encoding="utf-8")
    (checkpoint / "mca_config.json").write_text(json.dumps(own), encoding="utf-8")
    for path in base.glob("*token*"):
        shutil.copy(path, checkpoint)
    report = convert(Mg2hfOptions(checkpoint=checkpoint, output_dir=tmp_path / "hf", dtype="bfloat16"))
    assert report.dtype == json.loads((tmp_path / "hf/config.json").read_text(encoding="utf-8"))["dtype"] == "bfloat16"
    expected = load_file(base / "model.safetensors")
    for name, tensor in load_file(tmp_path / "hf/model.safetensors").items():
        assert torch.equal(tensor, expected[name].bfloat16()), name


def damage(kind: str, at: Path) -> None:
    """Spoil the checkpoint of 2 x 2 processes in ``at``."""
    last = at / "iter_0000007/mp_rank_01_001"
    if kind == "shard":
        shutil.rmtree(last)
    elif kind == "rank":
        for path in at.glob("iter_0000007/mp_rank_01_*"):
            shutil.rmtree(path)
    elif kind == "cut":
        path = last / "model_optim_rng.pt"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "empty":
        (last / "model_optim_rng.pt").write_bytes(b"")
    elif kind == "tracker":
        (at / TRACKER).write_text("9", encoding="utf-8")
    elif kind == "iteration":
        (at / TRACKER).write_text("soon", encoding="utf-8")
    elif kind == "step":
        state = torch.load(last / "model_optim_rng.pt")
        state["model"]["decoder.layers.1.input_layernorm.weight"] += 1
        torch.save(state, last / "model_optim_rng.pt")
    elif kind == "tied":
        for rank in range(2):
            path = at / f"iter_0000007/mp_rank_0{rank}_001/model_optim_rng.pt"
            state = torch.load(path)
            state["model"]["output_layer.weight"] += 1
            torch.save(state, path)
    elif kind == "experts":
        state = torch.load(last / "model_optim_rng.pt")
        state["model"] = {f"{name}x": tensor for name, tensor in state["model"].items()}
        torch.save(state, last / "model_optim_rng.pt")
    elif kind == "torch_dist":
        (at / "iter_0000007/.metadata").touch()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("shard", r"mp_rank_01_001/model_optim_rng.pt is missing: the checkpoint of 2 x 2 processes is not whole"),
        ("rank", r"by the configuration|rows in all"),
        ("cut", r"mp_rank_01_001/model_optim_rng.pt: cut short or damaged"),
        ("empty", r"mp_rank_01_001/model_optim_rng.pt: cut short or damaged"),
        ("tracker", r"iter_0000009 is missing, although"),
        ("iteration", r"'soon' is no iteration"),
        ("step", r"processes disagree on decoder.layers.3.input_layernorm.weight"),
        ("tied", r"differ, but the model ties them"),
        ("experts", r"the processes of stage 1 hold different tensors"),
        ("torch_dist", r"save with ckpt_format: legacy"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(
    kind: str, words: str, bases: dict[bool, Path], tmp_path: Path
) -> None:
    checkpoint = write_megatron(bases[True], tmp_path / "mg", 2, 2)
    damage(kind, checkpoint)
    with pytest.raises(UserError, match=words) as caught:
        convert(options(checkpoint, tmp_path / "hf", bases[True]))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "hf").exists()


def test_a_newer_half_written_iteration_is_left_out(
    bases: dict[bool, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = write_megatron(bases[True], tmp_path / "mg", 2, 1)
    (checkpoint / "iter_0000009/mp_rank_00").mkdir(parents=True)
    with caplog.at_level(logging.INFO):
        convert(options(checkpoint, tmp_path / "hf", bases[True]))
    assert "iter_0000009 was never finished; taking" in caplog.text
    same_weights(bases[True], tmp_path / "hf")


class Anything:
    """What a checkpoint may hold and an attacker may write."""


def test_python_objects_are_unpickled_only_when_trusted(bases: dict[bool, Path], tmp_path: Path) -> None:
    checkpoint = write_megatron(bases[True], tmp_path / "mg", 1, 1)
    path = checkpoint / "iter_0000007/mp_rank_00/model_optim_rng.pt"
    torch.save(torch.load(path) | {"args": Anything()}, path)
    with pytest.raises(UserError, match=r"holds Python objects.*trust_checkpoint=true"):
        convert(options(checkpoint, tmp_path / "hf", bases[True]))
    convert(options(checkpoint, tmp_path / "hf", bases[True], trust_checkpoint=True))
    same_weights(bases[True], tmp_path / "hf")


def test_a_second_run_does_nothing_and_a_changed_checkpoint_is_converted_again(
    bases: dict[bool, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = options(write_megatron(bases[True], tmp_path / "mg", 2, 1), tmp_path / "hf", bases[True])
    (tmp_path / "hf.partial").mkdir()
    (tmp_path / "hf.partial/model.safetensors").write_bytes(b"left by a run that was killed")
    first = convert(given)
    with caplog.at_level(logging.INFO):
        assert convert(given) == first
    assert "already converted" in caplog.text
    shutil.rmtree(tmp_path / "mg")
    write_megatron(make_model(tmp_path / "other", layers=4, vocab_size=448, seed=5), tmp_path / "mg", 2, 1)
    before = read_note(tmp_path / "hf/conversion.json")
    convert(given)
    assert read_note(tmp_path / "hf/conversion.json") != before
    same_weights(tmp_path / "other", tmp_path / "hf")
    (tmp_path / "hf/conversion.json").unlink()
    with pytest.raises(UserError, match="holds files of another origin"):
        convert(given)


def test_logits_that_differ_leave_no_folder(bases: dict[bool, Path], tmp_path: Path) -> None:
    checkpoint = write_megatron(bases[True], tmp_path / "mg", 1, 1)
    other = make_model(tmp_path / "other", layers=4, vocab_size=448, seed=5)
    with pytest.raises(UserError, match=r"logits differ from .*other by .*, more than tolerance 0.001"):
        convert(options(checkpoint, tmp_path / "hf", bases[True], reference=other))
    save_file({"logits": torch.zeros(1)}, tmp_path / "half.safetensors")
    with pytest.raises(UserError, match="a reference file has input_ids and logits"):
        convert(options(checkpoint, tmp_path / "hf", bases[True], reference=tmp_path / "half.safetensors"))
    assert not (tmp_path / "hf").exists()


def test_other_folders_are_told_apart(bases: dict[bool, Path], tmp_path: Path) -> None:
    base, out = bases[True], tmp_path / "hf"
    cases = {
        "no such checkpoint folder": tmp_path / "none",
        "a LoRA adapter; merge": make_adapter(tmp_path / "lora", base),
    }
    run = tmp_path / "run"
    (run / "checkpoint-5").mkdir(parents=True)
    cases["none of its checkpoints was finished"] = run
    unfinished = tmp_path / "unfinished"
    (unfinished / "global_step4").mkdir(parents=True)
    (unfinished / "global_step4/zero_pp_rank_0_mp_rank_00_optim_states.pt").touch()
    cases["was never finished"] = unfinished
    autotp = tmp_path / "autotp"
    (autotp / "global_step4").mkdir(parents=True)
    for rank in range(2):
        (autotp / f"global_step4/mp_rank_0{rank}_model_states.pt").touch()
    cases["gather_16bit_weights_on_model_save: true"] = autotp
    for words, folder in cases.items():
        with pytest.raises(UserError, match=words):
            convert(options(folder, out, base))
    shutil.copy(base / "model.safetensors", autotp)
    assert convert(options(autotp, out, base, reference=base)).source == "whole model"
    same_weights(base, out)


@pytest.mark.parametrize("kind", ["megatron", "whole model"])
def test_of_an_unfinished_run_the_last_whole_checkpoint_is_taken(
    kind: str, bases: dict[bool, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    for step in (5, 10, 15):
        at = run / f"checkpoint-{step}"
        if kind == "megatron":
            write_megatron(bases[True], at, 2, 1)
            (at / "training_args.bin").touch()
        else:
            shutil.copytree(bases[True], at)
        (at / "trainer_state.json").write_text(json.dumps({"global_step": step}), encoding="utf-8")
    (run / "checkpoint-15/trainer_state.json").unlink()
    cut = next((run / "checkpoint-10").rglob("*.pt" if kind == "megatron" else "*.safetensors"))
    cut.write_bytes(cut.read_bytes()[:1000])
    with caplog.at_level(logging.INFO):
        convert(options(run, tmp_path / "hf", bases[True]))
    for words in ("checkpoint-10 was never finished", "checkpoint-15 was never finished", f"taking {run}/checkpoint-5"):
        assert words in caplog.text
    same_weights(bases[True], tmp_path / "hf")


@pytest.mark.slow
def test_zero_partitions_are_put_together(bases: dict[bool, Path], tmp_path: Path) -> None:
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: bash scripts/setup.sh train")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(ROOT / "tests/support/zero_worker.py"), str(bases[True]), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for stage in (2, 3):
        folder = tmp_path / f"zero{stage}/checkpoint-2"
        report = convert(options(folder, tmp_path / f"hf{stage}", bases[True]))
        assert report.source == "ZeRO partitions"
        expected, found = (
            load_file(folder / "whole.safetensors.kept"),
            load_file(tmp_path / f"hf{stage}/model.safetensors"),
        )
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        assert not torch.equal(
            found["model.norm.weight"], load_file(bases[True] / "model.safetensors")["model.norm.weight"]
        )
        partitions = sorted(folder.glob("global_step2/*_optim_states.pt"))
        assert len(partitions) == 2
        partitions[1].unlink()
        with pytest.raises(UserError, match="the ZeRO partitions are not whole"):
            convert(options(folder, tmp_path / f"again{stage}", bases[True]))
