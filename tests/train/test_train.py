"""What a user may get wrong in a recipe ends in one line before anything is trained."""

import json
import socket
from pathlib import Path

import pytest
import yaml

from support.tiny_model import make_adapter, make_model
from text2sql.artifacts import write_note
from text2sql.errors import UserError
from text2sql.train.__main__ import train

ROOT = Path(__file__).parents[2]
TINY = ROOT / "recipes/tiny/lora_qv_sft.yaml"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=1, hidden=64)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "SELECT 1"}]}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (folder / "empty.jsonl").write_text("", encoding="utf-8")
    info = {name: {"file_name": f"{name}.jsonl"} for name in ("rows", "empty", "toy_gone")}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def overrides(model: Path, data: Path, out: Path, *more: str) -> list[str]:
    names = f"model_name_or_path={model} dataset_dir={data} dataset=rows eval_dataset=rows output_dir={out}"
    return [*names.split(), *more]


MISTAKES = [
    (["model_name_or_path=models/none"], ["models/none", "download_model.sh", "without network"]),
    (["model_name_or_path={data}"], ["config.json", "download or copy"]),
    (["dataset=typo"], ["'typo'", "rows"]),
    (["dataset=toy_gone"], ["toy_gone", "prepare_data.sh recipes/data/toy.yaml"]),
    (["eval_dataset=empty"], ["empty"]),
    (["dataset_dir=nowhere"], ["nowhere/dataset_info.json"]),
    (["output_dir={model}"], ["output_dir"]),
    (["output_dir=."], ["output_dir"]),
    (["adapter_name_or_path={data}"], ["adapter", "train one first"]),
    (["deepspeed=recipes/deepspeed/zero9.json"], ["zero9.json", "no such file"]),
    (["lerning_rate=1e-4"], ["'lerning_rate'", "'learning_rate'"]),
    (["learning_rate=fast"], ["learning_rate", "number", "'fast'"]),
    (["max_steps=2.5"], ["max_steps", "whole number"]),
    (["load_best_model_at_end=ja"], ["true or false"]),
    (["eval_strategy=sometimes"], ["eval_strategy", "steps", "epoch"]),
    (["stage=sfd"], ["stage", "sft"]),
    (["--learning_rate=1"], ["key=value"]),
    (["flash_attn=fa2"], ["flash-attn", "not installed", "flash_attn=auto"]),
    (["use_cpu=false", "bf16=true"], ["GPU", "recipes/tiny"]),
    (["lora_target=qq_proj"], ["lora_target 'qq_proj'", "did you mean 'q_proj'"]),
    (["template=qwen33"], ["template 'qwen33'", "did you mean 'qwen3'"]),
    (["cutoff_len=-5"], ["cutoff_len should be a number above 0, not -5"]),
    (["lora_rank=0"], ["lora_rank should be a number above 0, not 0"]),
    (["per_device_train_batch_size=0"], ["per_device_train_batch_size", "above 0"]),
    (["per_device_eval_batch_size=0"], ["per_device_eval_batch_size", "above 0"]),
    (["global_batch=0"], ["global_batch", "above 0"]),
    (["global_batch=many"], ["global_batch should be a whole number, not 'many'"]),
    (["global_batch=24"], ["global_batch 24 is no multiple of per_device_train_batch_size 16", "=12"]),
    (["gradient_accumulation_steps=2"], ["disagree", "global_batch=32"]),
    (["max_steps=0"], ["max_steps: 0 steps train nothing"]),
    (["save_steps=150"], ["save_steps=200", "multiple of eval_steps"]),
    (["check_memory=perhaps"], ["check_memory should be true or false"]),
]


@pytest.mark.parametrize(("wrong", "words"), MISTAKES, ids=lambda v: " ".join(v)[:40])
def test_mistakes_end_in_one_line(
    wrong: list[str], words: list[str], model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("text2sql.train.__main__.gpu_count", lambda: 0)
    out = tmp_path / "out"
    wrong = [text.format(model=model, data=data) for text in wrong]
    with pytest.raises(UserError) as caught:
        train(TINY, overrides(model, data, out, *wrong))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not out.exists(), "nothing may be left behind"


def test_a_start_says_what_will_never_happen(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine's recipe has what follows from our keys, and a start that failed does not stand in the way of another."""
    monkeypatch.chdir(ROOT)
    ran: list[list[str]] = []

    def fail(arguments: list[str], *_: object) -> None:
        ran.append(arguments)
        raise UserError("the trainer failed")

    monkeypatch.setattr("text2sql.train.__main__.run_llamafactory", fail)
    given = overrides(model, data, tmp_path / "out", "max_steps=60", "global_batch=64", "check_memory=false")
    for rate in (1e-3, 2e-3):
        with pytest.raises(UserError, match="the trainer failed"):
            train(TINY, [*given, f"learning_rate={rate}"])
    assert "this training has 60 steps and never evaluates before its end, for eval_steps is 100" in caplog.text
    engine = yaml.safe_load(Path(ran[1][1]).read_text(encoding="utf-8"))
    assert (engine["gradient_accumulation_steps"], engine["learning_rate"]) == (4, 2e-3)
    assert not engine.keys() & {"global_batch", "check_memory"}


def test_the_global_batch_counts_the_processes_of_all_machines(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    machines = {
        "NPROC_PER_NODE": "2",
        "NNODES": "2",
        "NODE_RANK": "0",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    for key, value in machines.items():
        monkeypatch.setenv(key, value)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("text2sql.train.__main__.run_llamafactory", stop)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train(TINY, overrides(model, data, out, "global_batch=64", "per_device_train_batch_size=8"))
    assert yaml.safe_load((out / "recipe.yaml").read_text(encoding="utf-8"))["gradient_accumulation_steps"] == 2


def test_no_such_recipe() -> None:
    with pytest.raises(UserError, match="no such recipe"):
        train(Path("recipes/none.yaml"), [])


def test_a_full_run_does_not_go_into_an_adapters_folder(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "SELECT 1"}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.jsonl"}}), encoding="utf-8")
    out = make_adapter(tmp_path / "out", model)
    made_of = {"recipe": {"stage": "sft", "finetuning_type": "lora"}, "data": {}, "base": "x"}
    write_note(out / "run.json", made_of, status="running", steps=0, processes=1)
    keys = f"model_name_or_path={model} dataset_dir={tmp_path} dataset=rows eval_dataset=rows output_dir={out}"
    with pytest.raises(UserError, match="holds a lora sft run, this recipe is a full sft run"):
        train(ROOT / "recipes/tiny/full_sft.yaml", keys.split())
    assert (out / "adapter_config.json").is_file()
