"""The door to llamafactory-cli: mistakes end in one line before anything is trained, and runs know what they are."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from support.tiny_model import make_adapter, make_model
from text2sql.checkpoint.weights import check_adapter_fits, fingerprint, read_shapes
from text2sql.errors import UserError
from text2sql.llamafactory.arguments import check_arguments, known_arguments
from text2sql.train.__main__ import train
from text2sql.train.launch import _for_the_screen, environment, only_one, run_llamafactory
from text2sql.train.merge import merge
from text2sql.train.preflight import check_attention, check_disk, check_output, fit_device
from text2sql.train.runs import Run, begin, finish, is_done, is_whole, plan_run

ROOT = Path(__file__).parents[2]
TINY = ROOT / "recipes/tiny/lora_qv_sft.yaml"
RUN = Run({"stage": "sft", "finetuning_type": "lora", "learning_rate": 0.002}, {"toy_train": "aa"}, "bb")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=1, hidden=64)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "SELECT 1"}]}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (folder / "empty.jsonl").write_text("", encoding="utf-8")
    info = {name: {"file_name": f"{name}.jsonl"} for name in ("rows", "empty", "toy_gone")}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def known() -> dict:
    return known_arguments("train")


def overrides(model: Path, data: Path, out: Path, *more: str) -> list[str]:
    names = f"model_name_or_path={model} dataset_dir={data} dataset=rows eval_dataset=rows output_dir={out}"
    return [*names.split(), *more]


# What a user may get wrong, and words that the one line must have.
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


def test_no_such_recipe() -> None:
    with pytest.raises(UserError, match="no such recipe"):
        train(Path("recipes/none.yaml"), [])


def test_values_of_every_kind_are_accepted(known: dict) -> None:
    check_arguments(
        {"report_to": "tensorboard", "lora_target": "all", "deepspeed": None, "max_steps": 300}, known, TINY
    )
    assert check_arguments({"eval_strategy": False}, known, TINY) == {"eval_strategy": "no"}
    with pytest.raises(UserError, match="no such key"):
        check_arguments({"xyzzy": 1}, known, TINY)


def test_deepspeed_on_a_cpu_lets_go_of_use_cpu() -> None:
    recipe = {"use_cpu": True, "bf16": True, "deepspeed": "recipes/deepspeed/zero3.json"}
    fitted, note = fit_device(recipe, TINY, gpus=0)
    assert fitted == {"use_cpu": False, "bf16": False, "deepspeed": "recipes/deepspeed/zero3.json"}
    assert "bf16=false" in note
    assert fit_device(recipe, TINY, gpus=2) == (recipe, "")


def test_lora_under_deepspeed_needs_an_optimizer_section() -> None:
    with pytest.raises(UserError, match="optimizer"):
        fit_device({"use_cpu": True, "deepspeed": {"zero_optimization": {"stage": 3}}}, TINY, gpus=0)


def test_flash_attention_takes_one_packed_sequence_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/test_packing.py sees what LLaMA-Factory does with more."""
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: True)
    packed = {"flash_attn": "fa2", "neat_packing": True, "per_device_train_batch_size": 1, "eval_strategy": "no"}
    check_attention(packed, TINY)
    for change in ({"neat_packing": False}, {"flash_attn": "auto"}):
        check_attention(packed | {"per_device_train_batch_size": 4} | change, TINY)
    with pytest.raises(UserError, match="one sequence a batch; set per_device_train_batch_size=1"):
        check_attention(packed | {"per_device_train_batch_size": 4}, TINY)
    evaluated = packed | {"eval_strategy": "steps"}
    with pytest.raises(UserError, match="set per_device_eval_batch_size=1"):
        check_attention(evaluated, TINY)
    check_attention(evaluated | {"per_device_eval_batch_size": 1}, TINY)


def test_environment() -> None:
    assert "FORCE_TORCHRUN" not in environment({"use_cpu": True}, 0, {})
    assert environment({"use_cpu": True}, 0, {})["OMP_NUM_THREADS"] == "1"
    two = environment({"deepspeed": "x"}, 0, {"NPROC_PER_NODE": "2", "OMP_NUM_THREADS": "4"})
    assert two["FORCE_TORCHRUN"] == "1"
    assert two["DS_ACCELERATOR"] == "cpu"
    assert not {"OMP_NUM_THREADS", "NPROC_PER_NODE"} & two.keys(), "what the user has set stays"
    with pytest.raises(UserError, match="NPROC_PER_NODE=two"):
        environment({}, 0, {"NPROC_PER_NODE": "two"})
    assert environment({}, 4, {}) == {
        "LLAMAFACTORY_VERBOSITY": "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
        "FORCE_TORCHRUN": "1",
    }


def test_disk_space_is_asked_for(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_disk({"finetuning_type": "full"}, tmp_path / "not" / "yet", model)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="save_total_limit"):
        check_disk({"finetuning_type": "full"}, tmp_path, model)


def test_output_may_not_hold_what_is_needed(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UserError, match="folder of its own"):
        check_output({"output_dir": str(model.parent)}, TINY, model)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        check_output({"output_dir": str(tmp_path / "file")}, TINY, model)


# --- weights -----------------------------------------------------------------------------------------------------


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
    check_adapter_fits(adapter, model)
    wider = make_model(tmp_path / "wider", layers=1, hidden=128)
    with pytest.raises(UserError, match="does not fit"):
        check_adapter_fits(adapter, wider)
    with pytest.raises(UserError, match="no layer"):
        check_adapter_fits(make_adapter(tmp_path / "deep", make_model(tmp_path / "m", layers=2, hidden=64)), model)
    (adapter / "run.json").write_text(json.dumps({"base": "of other weights"}), encoding="utf-8")
    with pytest.raises(UserError, match="other weights"):
        check_adapter_fits(adapter, model)
    (adapter / "run.json").write_text(json.dumps({"base": fingerprint(model)}), encoding="utf-8")
    check_adapter_fits(adapter, model)


def test_fingerprint_follows_content_not_place(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    assert fingerprint(copy) == fingerprint(model)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert fingerprint(copy) != fingerprint(model)


# --- runs ----------------------------------------------------------------------------------------------------------


def checkpoint(out: Path, step: int, model: Path) -> Path:
    folder = out / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    shutil.copy(model / "model.safetensors", folder)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}), encoding="utf-8")
    return folder


def test_a_run_starts_resumes_and_is_done(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "out"
    plan = plan_run(out, RUN, overwrite=False)
    assert (plan.action, plan.checkpoint) == ("start", None)
    begin(out, RUN, plan)
    assert plan_run(out, RUN, overwrite=False).action == "start", "nothing to resume from yet"

    first, second = checkpoint(out, 90, model), checkpoint(out, 100, model)
    assert plan_run(out, RUN, overwrite=False).checkpoint == second, "by number, not by name"
    (second / "trainer_state.json").unlink()
    log = [{"current_steps": step} for step in (80, 90, 95)]
    (out / "trainer_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log) + '{"curr', encoding="utf-8")
    plan = plan_run(out, RUN, overwrite=False)
    assert (plan.action, plan.checkpoint, plan.broken) == ("resume", first, [second])
    begin(out, RUN, plan)
    assert not second.exists()
    assert [json.loads(row)["current_steps"] for row in (out / "trainer_log.jsonl").open()] == [80, 90]

    assert not is_done(out, RUN)
    (out / "trainer_state.json").write_text(json.dumps({"global_step": 300}), encoding="utf-8")
    shutil.copy(model / "model.safetensors", out)
    assert finish(out, RUN) == 300
    assert is_done(out, RUN)
    (out / "model.safetensors").unlink()
    assert not is_done(out, RUN), "the model is gone"


@pytest.mark.parametrize("damage", ["state", "weights", "step", "no weights", "no state"])
def test_half_written_checkpoints_are_not_whole(damage: str, tmp_path: Path, model: Path) -> None:
    folder = checkpoint(tmp_path, 5, model)
    assert is_whole(folder)
    state, weights = folder / "trainer_state.json", folder / "model.safetensors"
    if damage == "state":
        state.write_text('{"global_', encoding="utf-8")
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "step":
        state.write_text('{"global_step": 4}', encoding="utf-8")
    else:
        (weights if damage == "no weights" else state).unlink()
    assert not is_whole(folder)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Run({**RUN.recipe, "learning_rate": 1.0}, RUN.data, RUN.base), "learning_rate 0.002 -> 1.0"),
        (Run({**RUN.recipe, "finetuning_type": "full"}, RUN.data, RUN.base), "lora sft run.*full sft run"),
        (Run(RUN.recipe, {"toy_train": "cc"}, RUN.base), "data have changed"),
        (Run(RUN.recipe, RUN.data, "cc"), "base model has changed"),
    ],
)
def test_another_run_is_refused_unless_overwritten(other: Run, words: str, tmp_path: Path, model: Path) -> None:
    begin(tmp_path, RUN, plan_run(tmp_path, RUN, overwrite=False))
    checkpoint(tmp_path, 5, model)
    with pytest.raises(UserError, match=words) as caught:
        plan_run(tmp_path, other, overwrite=False)
    assert "overwrite_output_dir=true" in str(caught.value)
    plan = plan_run(tmp_path, other, overwrite=True)
    begin(tmp_path, other, plan)
    assert not (tmp_path / "checkpoint-5").exists(), "a later run must not resume from the old one's checkpoint"


def test_files_of_another_origin_are_never_removed(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    for overwrite in (False, True):
        with pytest.raises(UserError, match="did not write"):
            plan_run(tmp_path, RUN, overwrite)


def test_only_one_process_trains_in_a_folder(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(UserError, match="another process"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


# --- the child -----------------------------------------------------------------------------------------------------


def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    """A program in llamafactory-cli's place, beside a Python of the same name."""
    program = tmp_path / "llamafactory-cli"
    program.write_text(f"#!{sys.executable}\n{body}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path / "log" / "train.log"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ValueError('Please specify dataset.')", "ValueError: Please specify dataset"),
        ("raise OSError(28, 'No space left on device')", "disk is full"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("raise SystemExit(3)", "exit code 3"),
        ("print('torch.OutOfMemoryError: CUDA out of memory.'); raise SystemExit(1)", "per_device_train_batch_size"),
    ],
)
def test_a_failing_trainer_ends_in_one_line(
    body: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = child(tmp_path, monkeypatch, body)
    with pytest.raises(UserError, match=words) as caught:
        run_llamafactory(["train", "x.yaml"], {}, log)
    assert str(log) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_old_error_in_the_log_is_not_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = child(tmp_path, monkeypatch, "raise SystemExit(3)")
    log.parent.mkdir()
    log.write_text("ValueError: of the run before\n", encoding="utf-8")
    with pytest.raises(UserError, match="exit code 3"):
        run_llamafactory(["train", "x.yaml"], {}, log)


def test_output_is_shown_and_logged_and_the_environment_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    log = child(tmp_path, monkeypatch, "import os, sys; print(sys.argv[1:], os.environ['ADDED'])")
    run_llamafactory(["train", "x.yaml"], {"ADDED": "yes"}, log)
    assert log.read_text(encoding="utf-8") == "['train', 'x.yaml'] yes\n"
    captured = capfdbinary.readouterr()
    assert b"['train', 'x.yaml'] yes" in captured.out
    assert b"+ ADDED=yes llamafactory-cli train x.yaml" in captured.err


def test_lists_of_token_ids_stay_off_the_screen() -> None:
    text = b"training example:\ninput_ids:\n[443, 82, -100]\ninputs:\n<|im_start|>\n"
    assert _for_the_screen(text) == (b"training example:\ninputs:\n<|im_start|>\n", b"")
    for cut in range(len(b"input_ids:") + 1, len(b"input_ids:\n[443, 82]\n")):  # wherever a read may end
        whole = b"input_ids:\n[443, 82]\nlabels:\n"
        shown, pending = _for_the_screen(whole[:cut])
        assert (shown, _for_the_screen(pending + whole[cut:])) == (b"", (b"labels:\n", b"")), cut
    assert _for_the_screen(b" 50%|##  | 1/2") == (b" 50%|##  | 1/2", b"")


# --- merging -------------------------------------------------------------------------------------------------------


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
    child(tmp_path, monkeypatch, "raise SystemExit(1)")
    given = [f"model_name_or_path={model}", f"adapter_name_or_path={adapter}", f"export_dir={tmp_path / 'merged'}"]
    with pytest.raises(UserError, match="export failed"):
        merge(ROOT / "recipes/tiny/merge_lora.yaml", given)
    assert not (tmp_path / "merged").exists()
