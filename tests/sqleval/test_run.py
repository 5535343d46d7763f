"""What a worker process keeps and computes: cached gold results, and the reward for speed."""

import math
import subprocess
import sys
import time
from pathlib import Path

from sqleval import Rows
from sqleval.run.cache import GoldCache, gold_key
from sqleval.run.judge import efficiency_reward
from sqleval.run.worker import HEARTBEAT_BYTES, open_heartbeat
from support.sqleval_files import make_database


def test_gold_cache_on_disk(tmp_path: Path) -> None:
    key = gold_key("content", "SELECT 1", "spider-exec")
    assert key != gold_key("content", "SELECT 1", "strict")
    rows = Rows(("a", "b"), [(1, "x"), (2.5, None), (b"\xff", "é")], seconds=0.5)
    GoldCache(tmp_path).put(key, rows)
    assert GoldCache(tmp_path).get(key) == rows
    quick = gold_key("content", "SELECT 2", "spider-exec")
    GoldCache(tmp_path).put(quick, Rows(("a",), [(1,)], seconds=0.0001))
    assert GoldCache(tmp_path).get(quick) is None
    file = make_database(tmp_path / "x.sqlite")
    assert GoldCache(tmp_path).content_hash(file) == GoldCache(tmp_path / "other").content_hash(file)


def test_efficiency_reward_steps() -> None:
    assert [efficiency_reward([r] * 5) for r in (3, 1.5, 0.7, 0.3, 0.1)] == [1.25, 1.0, 0.75, 0.5, 0.25]
    assert efficiency_reward([1.1] * 99 + [500.0]) == 1.0


def test_no_half_of_a_heartbeat_is_ever_read(tmp_path: Path) -> None:
    """struct.pack_into clears its target first: a parent that looks in between would end a worker that is on time."""
    shared = (tmp_path / "heartbeat").open("w+b")
    shared.truncate(HEARTBEAT_BYTES)
    beat = open_heartbeat(shared.fileno())
    beat[1], beat[0] = math.inf, -1
    code = (
        "import math, sys, time; from sqleval.run.worker import open_heartbeat; beat = open_heartbeat(int(sys.argv[1]))\n"
        "for _ in range(300_000): beat[1] = math.inf; beat[0] = 5; beat[1] = time.monotonic() + 60"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(shared.fileno())], pass_fds=(shared.fileno(),)) as writer:
        while writer.poll() is None:
            place, due = beat[0], beat[1]
            assert place in (-1, 5) and due > time.monotonic()
    assert writer.returncode == 0 and beat[0] == 5
