"""Runs llamafactory-cli as a child process: its output goes to screen and log, and a failure becomes one line."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from text2sql.errors import UserError
from text2sql.recipe.keys import tensor_parallel, whole_number
from text2sql.train.processes import TORCHRUN_PORT

_ERROR = re.compile(r"^(?:\[rank(\d+)\]:\s*)?(?:[\w.]+\.)?(\w+(?:Error|Exception))(?:: (.+))?$")
_KILLED = re.compile(r"rank\s*: (\d+) \(local_rank: \d+\)\s+exitcode\s*: -(\d+)")  # in torchrun's summary
_PEER_LOST = re.compile(
    r"onnection (?:closed|reset)|by peer|remote process|Broken pipe|DistBackendError|DistNetworkError"
)
_TOKENS = re.compile(rb"^(?:(?:input|label)_ids:\n)?\[[-\d, ]+\]\n", re.MULTILINE)
_TOKENS_BEGIN = re.compile(rb"^(?:(?:input|label)_ids:\n?|\[[-\d])[-\d, \[\]]*\Z", re.MULTILINE)
_WRAPPERS = ("CalledProcessError", "ChildFailedError")
_HINTS = {
    "No space left on device": "the disk is full; free some space, then start again",
    "out of memory": "the GPU's memory is full; lower per_device_train_batch_size or cutoff_len",
    "EADDRINUSE": "the port that the processes meet at is in use; set MASTER_PORT to a free one",
}


def environment(
    recipe: Mapping[str, Any], gpus: int, given: Mapping[str, str], deepspeed: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Variables that the trainer needs beside those ``given``, which are kept; ``deepspeed`` has DeepSpeed's settings.

    On CPUs each process gets one thread, because processes that compete for cores are several times slower.
    """
    wanted = {"LLAMAFACTORY_VERBOSITY": "WARNING", "TOKENIZERS_PARALLELISM": "false"}
    on_cpu = bool(recipe.get("use_cpu")) or not gpus
    processes = whole_number(given, "NPROC_PER_NODE", tensor_parallel(deepspeed or {}) if on_cpu else gpus)
    nodes = whole_number(given, "NNODES", 1)
    if on_cpu:
        wanted |= {"OMP_NUM_THREADS": "1", "NPROC_PER_NODE": str(processes)}
    if nodes > 1:  # LLaMA-Factory would choose a different free port on each machine
        wanted["MASTER_PORT"] = str(TORCHRUN_PORT)
    if recipe.get("deepspeed") or processes > 1 or nodes > 1:
        wanted["FORCE_TORCHRUN"] = "1"
        if on_cpu:
            wanted["DS_ACCELERATOR"] = "cpu"
    return {key: value for key, value in wanted.items() if key not in given}


def run_llamafactory(
    arguments: list[str],
    added: dict[str, str],
    log: Path,
    lock: int | None = None,
    program: list[str] | None = None,
) -> None:
    """Run ``llamafactory-cli``, or ``program`` instead, with ``arguments``; its output is appended to ``log``.

    The child inherits the descriptor ``lock``.

    Raises:
        UserError: it failed; the message has its last error and the path of the log.
        KeyboardInterrupt: it was interrupted or terminated by a signal to this process.
    """
    here = Path(sys.executable).parent  # torchrun lies there too
    command = [*(program or [str(here / "llamafactory-cli")]), *arguments]
    name = ["python", *program[1:]] if program else ["llamafactory-cli"]
    shown = [f"{key}={value}" for key, value in added.items()] + [*name, *map(shlex.quote, arguments)]
    Console(stderr=True, soft_wrap=True, highlight=False).print("+ " + " ".join(shown), markup=False)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as record:
        start = record.tell()
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **added, "PATH": os.pathsep.join((str(here), os.environ.get("PATH", os.defpath)))},
            pass_fds=() if lock is None else (lock,),
            start_new_session=True,  # so that a signal reaches all processes that it starts
        )
        with _forwarded_signals(child) as received:
            _copy_output(child, record)
            code = child.wait()
    if received:
        raise KeyboardInterrupt
    if code != 0:
        raise UserError(f"{' '.join(name)} {arguments[0]} failed: {_reason(log, start, code)} (log: {log})")


def _copy_output(child: "subprocess.Popen[bytes]", record: IO[bytes]) -> None:
    """Copy what the child prints to ``record`` and, without lists of token ids, to the screen, until it closes its output."""
    assert child.stdout is not None
    pending = b""
    while chunk := os.read(child.stdout.fileno(), 1 << 16):
        record.write(chunk)
        record.flush()
        shown, pending = _without_token_ids(pending + chunk)
        sys.stdout.buffer.write(shown)
        sys.stdout.flush()


def _without_token_ids(text: bytes) -> tuple[bytes, bytes]:
    """Output without its lists of token ids, and a tail that may be the beginning of one, to be looked at again."""
    unfinished = _TOKENS_BEGIN.search(text)
    end = unfinished.start() if unfinished else len(text)
    return _TOKENS.sub(b"", text[:end]), text[end:]


@contextmanager
def _forwarded_signals(child: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """Send signals that ask this process to end to the trainer's process group; yields the list of those received."""
    received: list[int] = []

    def forward(number: int, _frame: object) -> None:
        received.append(number)
        if child.poll() is None:
            os.killpg(child.pid, number)

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _reason(log: Path, start: int, code: int) -> str:
    with log.open("rb") as record:
        record.seek(start)
        text = record.read().decode("utf-8", "replace").replace("\r", "\n")
    lines = text.splitlines()
    for words, hint in _HINTS.items():
        if any(words in line for line in lines):
            return hint
    found = [match for line in lines if (match := _ERROR.match(line.strip())) and match[2] not in _WRAPPERS]
    told = [match[3] for match in found if match[2] == UserError.__name__]
    if told:
        return str(told[-1])
    errors = [(match[1], f"{match[2]}: {match[3]}" if match[3] else match[2]) for match in found]
    return _first_process(text, errors) or (errors[-1][1] if errors else _ended(code))


def _first_process(text: str, errors: list[tuple[str | None, str]]) -> str | None:
    """Why the process that failed first did; the others lost their connection to it, or torchrun terminated them."""
    of_processes = [(rank, error) for rank, error in errors if rank is not None]
    # The last error of each process, in the order of their first ones.
    own = {rank: error for rank, error in of_processes if not _PEER_LOST.search(error)}
    # A process that lost its connection may abort while it ends, so SIGABRT counts only where nothing else is known.
    killed = [(rank, int(number)) for rank, number in _KILLED.findall(text) if int(number) != signal.SIGTERM]
    for rank, number in killed:
        if number != signal.SIGABRT and rank not in own:
            return f"process {rank} was {_ended(-number)}"
    for rank, error in own.items():
        return f"process {rank}: {error}"
    if of_processes:
        return f"the connection to another process was lost; its own machine shows why ({of_processes[0][1]})"
    return f"process {killed[0][0]} was {_ended(-killed[0][1])}" if killed else None


def _ended(code: int) -> str:
    return f"killed by signal {-code}{' (out of memory?)' if code == -9 else ''}" if code < 0 else f"exit code {code}"
