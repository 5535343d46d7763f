"""The trainer as a child: its environment, its output, and the one line that a failure ends in."""

from pathlib import Path

import pytest

from support.stand_in import stand_in
from text2sql.errors import UserError
from text2sql.train.launch import _reason, _without_token_ids, environment, run_llamafactory


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
    log = stand_in(tmp_path, monkeypatch, body)
    with pytest.raises(UserError, match=words) as caught:
        run_llamafactory(["train", "x.yaml"], {}, log)
    assert str(log) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_old_error_in_the_log_is_not_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = stand_in(tmp_path, monkeypatch, "raise SystemExit(3)")
    log.parent.mkdir()
    log.write_text("ValueError: of the run before\n", encoding="utf-8")
    with pytest.raises(UserError, match="exit code 3"):
        run_llamafactory(["train", "x.yaml"], {}, log)


def test_output_is_shown_and_logged_and_the_environment_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    log = stand_in(tmp_path, monkeypatch, "import os, sys; print(sys.argv[1:], os.environ['ADDED'])")
    run_llamafactory(["train", "x.yaml"], {"ADDED": "yes"}, log)
    assert log.read_text(encoding="utf-8") == "['train', 'x.yaml'] yes\n"
    captured = capfdbinary.readouterr()
    assert b"['train', 'x.yaml'] yes" in captured.out
    assert b"+ ADDED=yes llamafactory-cli train x.yaml" in captured.err


def test_lists_of_token_ids_stay_off_the_screen() -> None:
    text = b"training example:\ninput_ids:\n[443, 82, -100]\ninputs:\n<|im_start|>\n"
    assert _without_token_ids(text) == (b"training example:\ninputs:\n<|im_start|>\n", b"")
    for cut in range(len(b"input_ids:") + 1, len(b"input_ids:\n[443, 82]\n")):  # wherever a read may end
        whole = b"input_ids:\n[443, 82]\nlabels:\n"
        shown, pending = _without_token_ids(whole[:cut])
        assert (shown, _without_token_ids(pending + whole[cut:])) == (b"", (b"labels:\n", b"")), cut
    assert _without_token_ids(b" 50%|##  | 1/2") == (b" 50%|##  | 1/2", b"")


SUMMARY = """train FAILED
Failures:
[0]:
  rank      : 0 (local_rank: 0)
  exitcode  : {0} (pid: 10)
Root Cause (first observed failure):
[1]:
  time      : 2026-01-01_00:00:00
  rank      : 1 (local_rank: 1)
  exitcode  : {1} (pid: 11)
"""


LOST = "[rank0]: RuntimeError: [gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:4567\n"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (LOST + SUMMARY.format(1, -9), "process 1 was killed by signal 9 (out of memory?)"),
        ("[rank1]: ValueError: of one\n" + LOST + SUMMARY.format(1, 1), "process 1: ValueError: of one"),
        (
            "[rank1]: KeyError: 'a'\n[rank1]: ValueError: of one\n[rank0]: ValueError: other\n" + SUMMARY.format(1, 1),
            "process 1: ValueError: of one",
        ),
        ("[rank1]: AssertionError\n" + LOST + SUMMARY.format(1, 1), "process 1: AssertionError"),
        ("[rank1]: ValueError: of one\n" + LOST + SUMMARY.format(-15, -6), "process 1: ValueError: of one"),
        (LOST + SUMMARY.format(-6, -9), "process 1 was killed by signal 9"),
        ("[rank0]: ValueError: in vain\n" + SUMMARY.format(1, -9), "process 1 was killed by signal 9"),
        (SUMMARY.format(-15, -6), "process 1 was killed by signal 6"),
        (SUMMARY.format(-15, -11), "process 1 was killed by signal 11"),
        (LOST + SUMMARY.format(1, 1), "its own machine shows why"),
        ("UserError: no such database\n" + LOST + SUMMARY.format(1, 2), "no such database"),
        ("torch.distributed.DistNetworkError: bind: EADDRINUSE, address in use\n", "set MASTER_PORT to a free one"),
    ],
)
def test_the_first_failing_process_is_blamed(log: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(log, encoding="utf-8")
    assert words in _reason(path, 0, 1)
