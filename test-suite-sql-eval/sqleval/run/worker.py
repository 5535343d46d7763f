"""The process that runs untrusted SQL. Started by :mod:`sqleval.run.pool`; it ends when its pipe closes.

Before every step it writes, into memory shared with its parent, which item it is at and when it should be done, so
that the parent can end it when SQLite hangs where no clock is checked.
"""

import mmap
import resource
import signal
import struct
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from sqleval.outcome import Verdict

HEARTBEAT = struct.Struct("dd")  # item number in the chunk (-1: idle), monotonic time by which its step should be done


def main() -> None:
    """Serve chunks of items until the pipe closes."""
    from sqleval.run.session import Session  # here, because the parent imports this module and needs no session

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Connection(int(sys.argv[1]))
    heartbeat = mmap.mmap(int(sys.argv[2]), HEARTBEAT.size)
    settings: dict[str, Any] = pipe.recv()
    memory = settings.pop("memory_bytes")
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    place = -1

    def announce(seconds: float) -> None:
        HEARTBEAT.pack_into(heartbeat, 0, place, time.monotonic() + seconds)

    session = Session(**settings, announce=announce)
    while True:
        try:
            chunk = pipe.recv()
        except (EOFError, OSError):
            return
        session.begin()
        found: list[Verdict] = []
        for item in chunk:
            place = len(found)
            found.append(session.score(*item))
        place = -1
        HEARTBEAT.pack_into(heartbeat, 0, -1.0, 0.0)
        pipe.send(found)
