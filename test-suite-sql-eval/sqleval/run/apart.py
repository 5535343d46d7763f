"""Single statements in a process of their own, so that their time limit holds whatever they call.

SQLite looks at the clock between its own instructions only: one call such as ``printf('%.*c', 2000000000, 'x')`` runs for
seconds, and no limit on lengths stops it. Here the process is ended instead.
"""

import os
import threading
from pathlib import Path
from queue import LifoQueue

from sqleval.outcome import ErrorClass, Failure, Outcome
from sqleval.run.pool import Worker
from sqleval.run.sandbox import DEFAULT, Limits

_GRACE_SECONDS = 0.5
_LATE = Failure(ErrorClass.TIMEOUT, "did not stop when interrupted; its process was ended")
_LOST = Failure(ErrorClass.OTHER, "the process that ran it ended")


class _Apart:
    """One worker process, started when first needed and replaced when it was ended; a fork has its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._owner = 0

    def run(self, database: Path | bytes, sql: str, limits: Limits, timeout: float) -> Outcome:
        with self._lock:
            fresh = self._worker is None or self._owner != os.getpid()
            if fresh or self._worker is None:
                self._worker, self._owner = Worker(None), os.getpid()
            pipe = self._worker.pipe
            try:
                if fresh:
                    pipe.recv()
                pipe.send((database, sql, limits, timeout))
                if pipe.poll(timeout + _GRACE_SECONDS):
                    found: Outcome = pipe.recv()
                    return found
                failure = _LATE
            except (EOFError, OSError):
                failure = _LOST
            self._worker.end()
            self._worker = None
            return failure

    def close(self) -> None:
        with self._lock:
            if self._worker is not None and self._owner == os.getpid():
                self._worker.end()
            self._worker = None


class Executor:
    """At most ``jobs`` worker processes, so that as many threads can call :meth:`execute` at once; others wait."""

    def __init__(self, jobs: int = 1) -> None:
        self._workers = [_Apart() for _ in range(jobs)]
        self._free: LifoQueue[_Apart] = LifoQueue()
        for worker in self._workers:
            self._free.put(worker)

    def execute(
        self, database: str | Path | bytes, sql: str, limits: Limits = DEFAULT, *, timeout: float | None = None
    ) -> Outcome:
        """As :func:`execute`."""
        if not isinstance(database, bytes):
            database = Path(database).absolute()
            if not database.is_file():
                raise FileNotFoundError(f"{database}: no such database")
        worker = self._free.get()
        try:
            return worker.run(database, sql, limits, limits.timeout if timeout is None else timeout)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End the worker processes; the next call starts new ones."""
        for worker in self._workers:
            worker.close()


_SHARED = Executor()


def execute(
    database: str | Path | bytes, sql: str, limits: Limits = DEFAULT, *, timeout: float | None = None
) -> Outcome:
    """Run one statement on a database file, or on a database as ``sqlite3.Connection.serialize`` gives it.

    It runs in a worker process that is kept between calls and ended when the statement is late. ``timeout`` (seconds)
    takes the place of the limits' own.

    Raises:
        FileNotFoundError: there is no such database file.
    """
    return _SHARED.execute(database, sql, limits, timeout=timeout)
