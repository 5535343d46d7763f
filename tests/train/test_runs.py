"""A run starts, resumes, or is left alone; what another run or program wrote is never mixed with it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from support.checkpoints import write_checkpoint, write_zero_checkpoint
from support.tiny_model import make_model
from text2sql.artifacts import only_one
from text2sql.errors import UserError
from text2sql.train.runs import Plan, Run, begin, finish, is_done, plan_run

RUN = Run({"stage": "sft", "finetuning_type": "lora", "learning_rate": 0.002}, {"toy_train": "aa"}, "bb")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model", layers=1, hidden=64)


def test_a_run_starts_resumes_and_is_done(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "out"
    plan = plan_run(out, RUN, overwrite=False)
    assert plan == Plan()
    begin(out, RUN, plan)
    assert plan_run(out, RUN, overwrite=False) == Plan(), "nothing to resume from yet"

    first, second = write_checkpoint(out, 90, model), write_checkpoint(out, 100, model)
    assert plan_run(out, RUN, overwrite=False).checkpoint == second, "by number, not by name"
    (second / "trainer_state.json").unlink()
    log = [{"current_steps": step} for step in (80, 90, 95)]
    (out / "trainer_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log) + '{"curr', encoding="utf-8")
    plan = plan_run(out, RUN, overwrite=False)
    assert (plan.checkpoint, plan.broken) == (first, [second])
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
    write_checkpoint(tmp_path, 5, model)
    with pytest.raises(UserError, match=words) as caught:
        plan_run(tmp_path, other, overwrite=False)
    assert "overwrite_output_dir=true" in str(caught.value)
    plan = plan_run(tmp_path, other, overwrite=True)
    begin(tmp_path, other, plan)
    assert not (tmp_path / "checkpoint-5").exists(), "a later run must not resume from the old one's checkpoint"


def test_a_run_that_failed_before_its_first_step_is_replaced(tmp_path: Path, model: Path) -> None:
    other = replace(RUN, recipe={**RUN.recipe, "learning_rate": 1.0})
    begin(tmp_path, RUN, plan_run(tmp_path, RUN, overwrite=False))
    log = tmp_path / "trainer_log.jsonl"
    for text in ("", json.dumps({"current_steps": 0, "eval_loss": 2.0}) + "\n"):
        log.write_text(text, encoding="utf-8")
        assert plan_run(tmp_path, other, overwrite=False) == Plan()
    log.write_text(json.dumps({"current_steps": 5, "loss": 2.0}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="learning_rate"):
        plan_run(tmp_path, other, overwrite=False)
    log.unlink()
    write_checkpoint(tmp_path, 5, model)
    with pytest.raises(UserError, match="learning_rate"):
        plan_run(tmp_path, other, overwrite=False)


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


def test_the_newest_whole_checkpoint_is_used(tmp_path: Path, model: Path) -> None:
    run = Run({"stage": "sft", "finetuning_type": "full"}, {}, "aa", processes=2)
    begin(tmp_path, run, plan_run(tmp_path, run, overwrite=False))
    first, second, third = (write_zero_checkpoint(tmp_path, step, model) for step in (4, 8, 12))
    (second / "latest").unlink()
    shutil.rmtree(third / "global_step12")
    (third / "trainer_state.json").unlink()
    plan = plan_run(tmp_path, run, overwrite=False)
    assert (plan.checkpoint, plan.broken) == (first, [second, third])
    with pytest.raises(UserError, match=r"checkpoint-4 is of a run of 2 processes, this start has 1.*NPROC_PER_NODE"):
        plan_run(tmp_path, replace(run, processes=1), overwrite=False)
    assert plan_run(tmp_path, replace(run, processes=1), overwrite=True) == Plan()


@pytest.mark.parametrize(
    "note", ["{}", '{"recipe": {"stage": "sft"}, "data": {}, "base": "bb", "status": "done"}', '{"rec']
)
def test_a_run_of_an_older_version_is_refused_unless_overwritten(note: str, tmp_path: Path, model: Path) -> None:
    write_checkpoint(tmp_path, 5, model)
    (tmp_path / "run.json").write_text(note, encoding="utf-8")
    for ask in (lambda: is_done(tmp_path, RUN), lambda: plan_run(tmp_path, RUN, overwrite=False)):
        with pytest.raises(
            UserError, match=r"run\.json was written by an older version.*another output_dir, or overwrite"
        ):
            ask()
    plan = plan_run(tmp_path, RUN, overwrite=True)
    begin(tmp_path, RUN, plan)
    assert not (tmp_path / "checkpoint-5").exists()
    assert not is_done(tmp_path, RUN)
