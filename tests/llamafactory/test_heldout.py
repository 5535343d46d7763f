"""Checkpoints are chosen by how many held-out questions they answer: the figure, what it changes, and mistakes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.grpo_world import GOLD, example, make_world, recipe, write_rows
from support.parallel_runs import ROOT
from text2sql.errors import UserError
from text2sql.prompts import ask, parse_completion
from text2sql.train.__main__ import train

pytest.importorskip("llamafactory")
OTHER = "SELECT city FROM shop"
QUESTIONS = 11  # an odd number, which two processes cannot share equally


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions of two kinds: the model must learn which SQL belongs to which."""
    folder = tmp_path_factory.mktemp("heldout")
    make_world(folder)
    asked = [example(i).__dict__ | {"sql": OTHER if i % 2 else GOLD} for i in range(QUESTIONS + 1)]
    write_rows(folder / "val.jsonl", asked[:QUESTIONS])
    answers = [{"role": "assistant", "content": row["sql"]} for row in asked]
    talks = [{"messages": [*ask(example(i)), answer]} for i, answer in enumerate(answers)]
    write_rows(folder / "talks.jsonl", talks)
    known = json.loads((ROOT / "data/dataset_info.json").read_text(encoding="utf-8"))["toy_train"]
    info = {"talks": known | {"file_name": "talks.jsonl"}, "rows": {"file_name": "rows.jsonl"}}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def sft(world: Path, out: Path, **changes: Any) -> Path:
    """A recipe's file: all weights of the random model, chosen by accuracy."""
    ours = recipe(world)
    for key in ("reward_funcs", "reward_jobs", "num_generations", "max_completion_length", "lora_target", "lora_rank"):
        del ours[key]
    given = ours | {
        "stage": "sft",
        "finetuning_type": "full",
        "dataset": "talks",
        "eval_dataset": "talks",
        "output_dir": str(out),
        "max_steps": 30,
        "per_device_train_batch_size": 6,
        "per_device_eval_batch_size": 5,
        "learning_rate": 0.005,
        "eval_strategy": "steps",
        "eval_steps": 5,
        "save_strategy": "steps",
        "save_steps": 5,
        "eval_examples": str(world / "val.jsonl"),
        "max_new_tokens": 24,
        "load_best_model_at_end": True,
        "metric_for_best_model": "execution_accuracy",
        "greater_is_better": True,
        **changes,
    }
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({k: v for k, v in given.items() if v is not ...}), encoding="utf-8")
    return path


def run(path: Path, processes: int = 1) -> list[dict[str, Any]]:
    """Train as a user does; returns the evaluations."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"NPROC_PER_NODE": str(processes), "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "text2sql.train", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return evaluations(path.with_suffix(""))


def evaluations(out: Path) -> list[dict[str, Any]]:
    return [row for row in state(out)["log_history"] if "eval_loss" in row]


def accuracies(rows: list[dict[str, Any]]) -> list[float]:
    return [row["eval_execution_accuracy"] for row in rows]


def state(out: Path) -> dict[str, Any]:
    return json.loads((out / "trainer_state.json").read_text(encoding="utf-8"))


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def chosen(world: Path) -> Path:
    """The output folder of a run by one process."""
    run(sft(world, world / "chosen"))
    return world / "chosen"


@pytest.mark.slow
def test_the_kept_checkpoint_is_the_one_that_answers_best(world: Path, chosen: Path) -> None:
    from text2sql.generate import Decoding, EngineSettings, Request, open_engine

    rows = evaluations(chosen)
    scores = accuracies(rows)
    assert len(set(scores)) > 2, "the run says nothing unless accuracy changes"
    assert all(0 <= a <= row["eval_executable"] <= 1 for a, row in zip(scores, rows, strict=True))
    best = rows[scores.index(max(scores))]["step"]
    assert best != min(rows, key=lambda row: row["eval_loss"])["step"], "the loss would have chosen another"
    assert state(chosen)["best_metric"] == max(scores)
    kept, final = weights(chosen / f"checkpoint-{best}"), weights(chosen)
    assert all((kept[name] == final[name]).all() for name in final)

    settings = EngineSettings(
        model_name_or_path=str(chosen), engine="transformers", enable_thinking=False, dtype="float32"
    )
    asked = [json.loads(line) for line in (world / "val.jsonl").read_text(encoding="utf-8").splitlines()]
    requests = [Request(str(i), ask(example(i))) for i in range(QUESTIONS)]
    with open_engine(settings) as engine:
        answers = list(engine.generate(requests, Decoding(max_new_tokens=24)))
    right = sum(parse_completion(answer.text) == asked[int(answer.key)]["sql"] for answer in answers)
    assert right / QUESTIONS == max(scores), "inference with the kept model gives the same answers"


@pytest.mark.slow
def test_questions_change_the_choice_but_not_the_training(world: Path, chosen: Path) -> None:
    keys = ("eval_examples", "database_root", "max_new_tokens", "metric_for_best_model", "greater_is_better")
    run(sft(world, world / "plain", **dict.fromkeys(keys, ...)))
    assert "eval_execution_accuracy" not in json.dumps(state(world / "plain")["log_history"])
    last = "checkpoint-30"
    plain, asked = weights(world / "plain" / last), weights(chosen / last)
    assert all((plain[name] == asked[name]).all() for name in plain)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [None, "zero2", "zero3"])
def test_two_processes_find_the_same_accuracy(settings: str | None, world: Path, chosen: Path) -> None:
    changes = {"deepspeed": f"recipes/deepspeed/{settings}.json"} if settings else {}
    rows = run(sft(world, world / f"two_{settings}", per_device_train_batch_size=3, **changes), 2)
    assert accuracies(rows) == accuracies(evaluations(chosen))


@pytest.mark.slow
def test_lora_with_recomputed_activations_answers_and_stops_early(world: Path) -> None:
    lora = {"finetuning_type": "lora", "lora_target": "all", "disable_gradient_checkpointing": False}
    never = {"learning_rate": 1e-9, "early_stopping_steps": 2}
    rows = run(sft(world, world / "lora", **lora, **never))
    assert [row["step"] for row in rows] == [5, 10, 15]
    assert accuracies(rows) == [0, 0, 0]


MISTAKES = [
    ({"eval_examples": "gone.jsonl"}, "eval_examples gone.jsonl: no such file"),
    ({"eval_examples": ...}, "metric_for_best_model execution_accuracy needs eval_examples"),
    ({"eval_examples": ..., "metric_for_best_model": "loss"}, "database_root has no effect without eval_examples"),
    ({"eval_strategy": "no", "load_best_model_at_end": False}, "this recipe never evaluates; set eval_strategy"),
    ({"database_root": None}, "set database_root to the folder of databases"),
    ({"database_root": "gone"}, "database_root gone: no such folder"),
    ({"greater_is_better": False}, "set greater_is_better=true"),
    ({"stage": "kto"}, "not stage kto"),
    ({"eval_samples": 0}, "eval_samples should be greater than or equal to 1, not 0"),
    ({"timeout": 0}, "timeout should be greater than or equal to 0.01"),
    ({"max_new_tokens": 0}, "max_new_tokens should be a number above 0"),
    ({"answer_format": "haiku"}, "answer_format should be one of plain, reasoning, process"),
    ({"answer_format": "process"}, "enable_thinking=true"),
    ({"eval_on_each_dataset": True}, "eval_on_each_dataset=false"),
    ({"eval_sample": 3}, "did you mean 'eval_samples'"),
    ({"num_generations": 4}, "unknown key 'num_generations'"),
]


@pytest.mark.parametrize(("wrong", "words"), MISTAKES, ids=lambda v: str(v)[:40])
def test_mistakes_end_in_one_line(wrong: dict, words: str, world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        train(sft(world, tmp_path / "out", **wrong), [])
    assert "\n" not in str(caught.value)
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists(), "nothing may be left behind"


@pytest.mark.parametrize(
    ("change", "words"), [({"sql": " "}, "row 2 (q1): sql is empty"), ({"db_id": "none"}, "row 2 (q1): no database")]
)
def test_questions_that_cannot_be_judged_are_named(change: dict, words: str, world: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "val.jsonl", [example(0).__dict__, example(1).__dict__ | change])
    with pytest.raises(UserError) as caught:
        train(sft(world, tmp_path / "out", eval_examples=str(tmp_path / "val.jsonl")), [])
    assert words in str(caught.value)


def test_a_recipe_can_be_overridden_to_do_without(world: Path, tmp_path: Path) -> None:
    from text2sql.llamafactory.questions import check

    given = yaml.safe_load(sft(world, tmp_path / "out").read_text(encoding="utf-8"))
    check(given, Path("r.yaml"))
    check(given | {"eval_examples": None, "metric_for_best_model": "eval_loss"}, Path("r.yaml"))
    with pytest.raises(UserError, match="tensor parallelism"):
        check(given | {"deepspeed": str(ROOT / "recipes/deepspeed/zero2_tp.json")}, Path("r.yaml"))
