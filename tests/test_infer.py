"""Batch inference with a real small model: complete, resumable, and never a mixture of two models."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from support.sqleval_files import make_database
from support.tiny_model import QUESTIONS, SCHEMA, make_adapter, make_model
from text2sql import infer as module
from text2sql.errors import UserError
from text2sql.generate.vllm_engine import vllm_python
from text2sql.infer import InferOptions, infer
from text2sql.predictions import PredictionFile, Shard, note_path
from text2sql.records import Example, Prediction, read_jsonl, write_jsonl

COUNT = 24


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def options(model, tmp_path):
    examples = [Example(f"q{i}", "shops", f"{QUESTIONS[i % 6]} ({i})", SCHEMA, "SELECT 1") for i in range(COUNT)]
    write_jsonl(tmp_path / "examples.jsonl", examples)
    return InferOptions(
        model_name_or_path=str(model),
        examples=tmp_path / "examples.jsonl",
        output=tmp_path / "out" / "p.jsonl",
        engine="transformers",
        max_new_tokens=6,
        batch_size=4,
    )


def rows(path):
    return list(read_jsonl(path, Prediction))


def test_every_question_is_answered_once_in_order(options):
    path = infer(options)
    assert [row.question_id for row in rows(path)] == [f"q{i}" for i in range(COUNT)]
    assert {row.db_id for row in rows(path)} == {"shops"}
    assert all(row.text for row in rows(path))
    before = path.read_bytes()
    assert infer(options).read_bytes() == before
    assert infer(replace(options, batch_size=32, overwrite=True)).read_bytes() == before


def test_a_finished_file_needs_no_engine(options, monkeypatch):
    infer(options)
    monkeypatch.setattr(module, "open_engine", lambda settings: pytest.fail("the engine was opened"))
    infer(options)


def test_torn_files_are_mended(options):
    whole = infer(replace(options, temperature=1.0, n=3)).read_text()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 3 * COUNT
    options.output.write_text("".join(lines[:7]) + lines[7][:20])
    infer(replace(options, temperature=1.0, n=3))
    found = rows(options.output)
    assert sorted({(row.question_id, row.sample) for row in found}) == sorted(
        (f"q{i}", s) for i in range(COUNT) for s in range(3)
    )
    assert len(found) == 3 * COUNT
    assert options.output.read_text().startswith("".join(lines[:6]))


def test_limit_can_grow(options):
    infer(replace(options, limit=5))
    first = options.output.read_bytes()
    infer(options)
    assert options.output.read_bytes().startswith(first)
    assert len(rows(infer(replace(options, limit=5)))) == COUNT


@pytest.mark.parametrize("change", ["decoding", "model", "adapter", "examples", "thinking"])
def test_another_model_or_setting_starts_again(options, change, tmp_path, caplog):
    infer(replace(options, limit=6))
    old = options.output.read_bytes()
    if change == "decoding":
        other = replace(options, max_new_tokens=5)
    elif change == "model":
        other = replace(options, model_name_or_path=str(make_model(tmp_path / "other", seed=7)))
    elif change == "adapter":
        other = replace(
            options, adapter_name_or_path=make_adapter(tmp_path / "adapter", Path(options.model_name_or_path))
        )
    elif change == "examples":
        changed = [replace(e, question=e.question + "!") for e in read_jsonl(options.examples, Example)]
        write_jsonl(options.examples, changed)
        other = options
    else:
        other = replace(options, enable_thinking=True)
    infer(replace(other, limit=6))
    assert "starting again" in caplog.text
    assert options.output.with_name("p.jsonl.previous").read_bytes() == old
    assert options.output.read_bytes() != old
    assert len(rows(options.output)) == 6


def test_predictions_of_unknown_origin_are_put_aside(options, caplog):
    infer(replace(options, limit=3))
    note_path(options.output).unlink()
    infer(replace(options, limit=3))
    assert "no note of what made it" in caplog.text


def test_shards_join_when_all_are_there(options):
    whole = infer(options).read_bytes()
    output = options.output.with_name("sharded.jsonl")
    for part in (2, 3):
        path = infer(replace(options, output=output, shard=f"{part}/3"))
        assert path.name == f"sharded.shard-{part}-of-3.jsonl"
        assert len(rows(path)) == COUNT / 3
    assert not output.exists()
    assert infer(replace(options, output=output, shard="1/3")) == output
    assert output.read_bytes() == whole
    assert json.loads(note_path(output).read_text()) == json.loads(note_path(options.output).read_text())


def test_two_runs_do_not_share_a_file(options):
    with PredictionFile(options.output, {}, 1).claim(), pytest.raises(UserError, match="another run is writing there"):
        infer(options)
    wrong = command(options.output.parent, options, f"output={options.examples / 'p.jsonl'}")
    done = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: {options.examples}: File exists; correct the path or its permissions\n"
    infer(replace(options, limit=1))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2", "1/0"])
def test_wrong_shards_are_refused(text):
    with pytest.raises(UserError, match="shard is written i/n"):
        Shard.parse(text)


def command(folder, options, *overrides):
    recipe = folder / "infer.yaml"
    values = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items() if v is not None}
    recipe.write_text(json.dumps(values))
    return [sys.executable, "-m", "text2sql.infer", str(recipe), *overrides]


def kill_after(count, output, process):
    """``kill -9`` a run as soon as it has written ``count`` predictions; returns whole lines that it leaves."""
    deadline = time.monotonic() + 600  # two engines load, on a machine that may be busy
    while not (output.exists() and output.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return output.read_bytes().rpartition(b"\n")[0].splitlines()


def test_killed_runs_go_on(options, tmp_path):
    expected = infer(options).read_bytes()
    output = tmp_path / "killed.jsonl"
    slow = replace(options, output=output, batch_size=1)
    process = subprocess.Popen(command(tmp_path, slow), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kept = kill_after(3, output, process)
    infer(slow)
    assert output.read_bytes() == expected
    assert set(kept) <= set(expected.splitlines())


@pytest.mark.skipif(vllm_python() is None, reason="no vLLM environment (bash scripts/setup.sh vllm)")
@pytest.mark.slow
def test_vllm_workers_share_the_questions(options, tmp_path):
    """Two give the file that one gives, also after both were killed in the middle, and none is left behind."""
    one = replace(options, engine="vllm", max_new_tokens=200)
    expected = infer(one).read_bytes()
    two = replace(one, output=tmp_path / "two.jsonl", data_parallel_size=2, batch_size=1)
    process = subprocess.Popen(command(tmp_path, two), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(workers := children(process.pid)) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    kept = kill_after(3, two.output, process)
    assert 3 <= len(kept) < COUNT
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived the run"
        time.sleep(0.1)
    assert infer(two).read_bytes() == expected
    assert set(kept) <= set(expected.splitlines())


def children(pid):
    """Processes that ``pid`` started and that run vLLM's worker."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):  # a short-lived one
            if b"vllm_worker.py" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def test_mistakes_are_one_line(options, tmp_path):
    cases = [
        ("model_name_or_path=absent", "no such model folder"),
        ("examples=absent.jsonl", "no such file"),
        (f"adapter_name_or_path={tmp_path}", "no adapter there"),
        ("shard=5/4", "shard is written"),
        ("temprature=1", "did you mean 'temperature'?"),
        ("n=4", "temperature above 0"),
    ]
    for override, words in cases[:2]:
        done = subprocess.run(command(tmp_path, options, override), capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert words in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    from text2sql.recipe import load_recipe, options_from

    for override, words in cases:
        recipe = tmp_path / "infer.yaml"
        with pytest.raises(UserError, match=words.replace("?", r"\?")):
            infer(options_from(InferOptions, load_recipe(recipe, [override]), "infer.yaml"))
    assert not options.output.exists()
    doubled = [*read_jsonl(options.examples, Example)] * 2
    write_jsonl(options.examples, doubled)
    with pytest.raises(UserError, match="occurs twice"):
        infer(options)
    write_jsonl(options.examples, [])
    with pytest.raises(UserError, match="no examples in it"):
        infer(options)


def test_answers_are_repaired_by_key(options, tmp_path, monkeypatch):
    make_database(tmp_path / "database/shops/shops.sqlite")
    monkeypatch.setattr(module, "parse_completion", lambda text: "SELECT name FROM customer WHERE city = 'rome'")
    repaired = replace(options, limit=2, repair=True, database_root=tmp_path / "database")
    found = rows(infer(repaired))
    assert [(row.pred[-6:], row.raw[-6:], len(row.repairs)) for row in found] == [("'Rome'", "'rome'", 1)] * 2
    with pytest.raises(UserError, match="no such database file"):
        infer(replace(repaired, database_root=tmp_path, overwrite=True))
    assert infer(replace(options, limit=2)).with_name("p.jsonl.previous").is_file()
    with pytest.raises(ValueError, match="repair needs database_root"):
        replace(options, repair=True)
