"""The process that runs untrusted SQL: open databases, cached golds, a judge, and the loop that :mod:`sqleval.run.pool` starts.

Before every step the worker writes, into memory shared with its parent, which item it is at and when it should be done,
so that the parent can end it when SQLite hangs where no clock is checked. It ends when its pipe closes.
"""

import math
import mmap
import resource
import signal
import sqlite3
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from sqleval.files import instances, side_files
from sqleval.outcome import ErrorClass, Failure, Outcome, Verdict
from sqleval.protocol import Protocol
from sqleval.run.cache import GoldCache, gold_key
from sqleval.run.judge import Instance, Judge
from sqleval.run.sandbox import Connection, Limits, execute_here

_MOST_OPEN_FILES = 200
_MEMORY_BYTES = 2 << 30


class Session:
    """Gives verdicts one at a time, with databases kept open between them."""

    def __init__(
        self,
        folder: Path,
        protocol: Protocol,
        limits: Limits,
        cache: Path | None,
        announce: Callable[[float], None] = lambda seconds: None,
        overlaps: bool = False,
    ) -> None:
        self.folder = folder
        self.cache = GoldCache(cache)
        self.judge = Judge(protocol, limits, announce, overlaps)
        self._checked: set[str] = set()
        self._open: OrderedDict[str, tuple[object, list[Instance]]] = OrderedDict()

    def begin(self) -> None:
        """A new batch starts: check again whether databases have changed."""
        self._checked.clear()

    def score(self, db_id: str, gold: str, pred: str) -> Verdict:
        """The verdict; whatever the statements do, this returns one."""
        try:
            opened = self._instances(db_id)
        except (OSError, ValueError, sqlite3.Error) as error:  # ValueError: a name that no file can have
            return Verdict.failed(Failure(ErrorClass.OTHER, f"{db_id[:100]}: {error}"[:1000]), "gold_error")
        try:
            return self.judge.judge(opened, gold, pred)
        except sqlite3.Error as error:
            return Verdict.failed(Failure(ErrorClass.OTHER, f"{db_id}: {error}"), "gold_error")
        except (MemoryError, RecursionError) as error:
            return Verdict.failed(Failure(ErrorClass.TOO_LARGE, f"comparing the results: {type(error).__name__}"))

    def answers(self, db_id: str, sql: str) -> list[Outcome]:
        """What a statement gives on each instance, up to the first failure."""
        try:
            return self.judge.answers(self._instances(db_id), sql)
        except (OSError, ValueError, sqlite3.Error) as error:
            return [Failure(ErrorClass.OTHER, f"{db_id[:100]}: {error}"[:1000])]
        except (MemoryError, RecursionError) as error:
            return [Failure(ErrorClass.TOO_LARGE, type(error).__name__)]

    def do(self, item: tuple[str, ...]) -> Verdict | list[Outcome]:
        """:meth:`score` where the item is a database, a gold and a prediction, :meth:`answers` without a gold."""
        return self.score(*item) if len(item) == 3 else self.answers(*item)

    def _instances(self, db_id: str) -> list[Instance]:
        known = self._open.get(db_id)
        if known and db_id in self._checked:
            return known[1]
        self._checked.add(db_id)
        paths = instances(self.folder, db_id, self.judge.protocol.name == "spider-test-suite")
        files = [file for path in paths for file in (path, *side_files(path))]
        stamp = [(file, (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files]
        if known and known[0] == stamp:
            self._open.move_to_end(db_id)
            return known[1]
        if known:
            self._close(db_id)
        found = [self._instance(path) for path in paths]
        self._open[db_id] = (stamp, found)
        while sum(len(entry[1]) for entry in self._open.values()) > _MOST_OPEN_FILES and len(self._open) > 1:
            self._close(next(iter(self._open)))
        return found

    def _instance(self, path: Path) -> Instance:
        content = "|".join(self.cache.content_hash(file) for file in (path, *side_files(path)))
        return Instance(Connection(path, self.judge.limits), partial(self._gold, content))

    def _gold(self, content: str, sql: str, connection: Connection) -> Outcome:
        key = gold_key(content, sql, self.judge.protocol.label)
        found = self.cache.get(key)
        if found is None:
            found = connection.run(sql, self.judge.limits.gold_timeout)
            self.cache.put(key, found)
        return found

    def _close(self, db_id: str) -> None:
        for instance in self._open.pop(db_id)[1]:
            instance.connection.close()

    def close(self) -> None:
        """Close all databases."""
        for db_id in list(self._open):
            self._close(db_id)


HEARTBEAT_BYTES = 16


def open_heartbeat(fd: int) -> "memoryview[float]":
    """Two numbers in shared memory: the item's place in the chunk (-1: idle), the monotonic time by which its step is due.

    Each is written by one store, so that the parent never reads half of one; struct.pack_into would clear both first.
    """
    return memoryview(mmap.mmap(fd, HEARTBEAT_BYTES)).cast("d")


def main() -> None:
    """Serve chunks of items, or single statements, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Pipe(int(sys.argv[1]))
    heartbeat = open_heartbeat(int(sys.argv[2]))
    settings: dict[str, Any] | None = pipe.recv()
    allowed = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = _MEMORY_BYTES if allowed == resource.RLIM_INFINITY else min(_MEMORY_BYTES, allowed)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    place = -1

    def announce(seconds: float) -> None:
        heartbeat[1] = math.inf  # until the place is right, nothing is due
        heartbeat[0] = place
        heartbeat[1] = time.monotonic() + seconds

    session = Session(**settings, announce=announce) if settings else None
    if session is None:
        pipe.send(None)  # ready: the start does not count as a statement's time
    while True:
        try:
            chunk = pipe.recv()
        except (EOFError, OSError):
            return
        if session is None:
            pipe.send(execute_here(*chunk))
            continue
        session.begin()
        found: list[Verdict | list[Outcome]] = []
        for item in chunk:
            place = len(found)
            found.append(session.do(item))
        place = -1
        heartbeat[0] = -1
        pipe.send(found)
