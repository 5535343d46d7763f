"""Worker processes that may be killed at any moment without losing an item.

Plain processes over pipes, not a ready-made pool: pools lose the items of a worker that dies, cannot tell which
item it was at, and re-import the caller's main module, which in a training run is the whole trainer.
"""

import logging
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from sqleval.outcome import ErrorClass, Failure
from sqleval.run.worker import HEARTBEAT_BYTES, open_heartbeat

log = logging.getLogger(__name__)

Item = tuple[str, ...]
"""What :meth:`sqleval.run.worker.Session.do` takes: a database's name first."""
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]
_GRACE_SECONDS = 0.1
_POLL_SECONDS = 0.05
_TIMED_OUT = Failure(ErrorClass.TIMEOUT, "did not stop when interrupted; its process was ended")
_LOST = Failure(ErrorClass.OTHER, "the worker process ended twice on this item")


@dataclass
class _Chunk:
    """Numbers of items that go to a worker together, and whether they were sent before."""

    numbers: list[int]
    again: bool = False


class Worker:
    """One process with its pipe and the memory in which it says where it is.

    Without ``settings`` it runs single statements only.
    """

    def __init__(self, settings: dict[str, Any] | None) -> None:
        self.pipe, theirs = Pipe()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._file.truncate(HEARTBEAT_BYTES)
        self._heartbeat = open_heartbeat(self._file.fileno())
        self.chunk: _Chunk | None = None
        fds = (theirs.fileno(), self._file.fileno())
        # -S: no site-packages, which keeps the start short; the worker needs the standard library and this package.
        command = [sys.executable, "-S", "-c", "from sqleval.run.worker import main; main()", *map(str, fds)]
        environment = {**os.environ, "PYTHONPATH": str(_PACKAGE_PARENT), "PYTHONSAFEPATH": "1"}
        self.process = subprocess.Popen(command, pass_fds=fds, env=environment, stdin=subprocess.DEVNULL)
        theirs.close()
        self.pipe.send(settings)

    def start(self, chunk: _Chunk, items: Sequence[Item]) -> None:
        """Hand over a chunk."""
        self._heartbeat[1] = math.inf
        self._heartbeat[0] = -1
        self.chunk = chunk
        self.pipe.send([items[number] for number in chunk.numbers])

    def place(self) -> int:
        """Place in the chunk of the item being judged; -1: none yet."""
        return int(self._heartbeat[0])

    def overdue(self) -> bool:
        """Whether the worker hangs where SQLite does not check the clock."""
        place, due = self._heartbeat[0], self._heartbeat[1]
        return self.chunk is not None and place >= 0 and time.monotonic() > due + _GRACE_SECONDS

    def end(self) -> None:
        """Kill the process and free what it held; a large process takes a moment to end, so a thread waits for it."""
        self.process.kill()
        threading.Thread(target=self.process.wait, daemon=True).start()
        self._heartbeat.release()
        self.pipe.close()
        self._file.close()


class Pool:
    """``jobs`` workers, started when first needed and replaced when they die."""

    def __init__(self, jobs: int, settings: dict[str, Any]) -> None:
        self._jobs = jobs
        self._settings = settings
        self._workers: list[Worker] = []

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.process.wait()
        self._workers = []

    def pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [worker.process.pid for worker in self._workers]

    def run(self, items: Sequence[Item], progress: Callable[[int], None], size: Callable[[str], int]) -> list[Any]:
        """What a session makes of each item, in order; a Failure where its process had to be ended.

        ``progress`` is called with how many more are done. ``size`` is a database's size in bytes: large ones go first.
        """
        found: dict[int, Any] = {}
        waiting = deque(_chunks(items, self._jobs, size))
        while waiting or any(worker.chunk for worker in self._workers):
            before = len(found)
            free = sum(worker.chunk is None for worker in self._workers)
            for _ in range(min(self._jobs - len(self._workers), len(waiting) - free)):
                self._workers.append(Worker(self._settings))
            for worker in list(self._workers):
                if worker.chunk is None and waiting:
                    self._give(worker, waiting, items)
            busy: dict[Any, Worker] = {worker.pipe: worker for worker in self._workers if worker.chunk}
            for pipe in wait(list(busy), timeout=_POLL_SECONDS):
                self._collect(busy[pipe], found, waiting)
            for worker in [worker for worker in self._workers if worker.overdue()]:
                self._drop(worker, found, waiting)
            if done := len(found) - before:
                progress(done)
        return [found[number] for number in range(len(items))]

    def _give(self, worker: Worker, waiting: deque[_Chunk], items: Sequence[Item]) -> None:
        chunk = waiting.popleft()
        try:
            worker.start(chunk, items)
        except ConnectionError:
            waiting.appendleft(chunk)
            self._end(worker)

    def _collect(self, worker: Worker, found: dict[int, Any], waiting: deque[_Chunk]) -> None:
        try:
            done = worker.pipe.recv()
        except (EOFError, OSError):
            self._drop(worker, found, waiting)
            return
        if worker.chunk:
            found.update(zip(worker.chunk.numbers, done, strict=True))
        worker.chunk = None

    def _drop(self, worker: Worker, found: dict[int, Any], waiting: deque[_Chunk]) -> None:
        """End a dead or hanging worker; its items go back to the queue, one by one, for a new one."""
        # Checked only after the kill: a slow item may just have ended, and the next one is not to blame.
        worker.process.kill()
        chunk, place, hung = worker.chunk or _Chunk([]), worker.place(), worker.overdue()
        self._end(worker)
        for position, number in enumerate(chunk.numbers):
            suspect = position == place or (place < 0 and not hung)
            if suspect and (hung or chunk.again):
                found[number] = _TIMED_OUT if hung else _LOST
            else:
                # An item that was not being judged when the worker ended has not had its second chance yet.
                waiting.append(_Chunk([number], again=suspect))

    def _end(self, worker: Worker) -> None:
        log.debug("ending worker %d", worker.process.pid)
        worker.end()
        self._workers.remove(worker)


def _chunks(items: Sequence[Item], jobs: int, size: Callable[[str], int]) -> list[_Chunk]:
    """Items of one database and gold next to each other, the largest databases first, many chunks for each worker."""
    sizes = {db_id: size(db_id) for db_id in {item[0] for item in items}}
    order = sorted(range(len(items)), key=lambda number: (-sizes[items[number][0]], items[number][:2]))
    most = max(1, min(16, len(items) // (8 * jobs)))
    return [_Chunk(order[i : i + most]) for i in range(0, len(order), most)]
