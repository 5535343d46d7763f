"""What a worker process keeps and computes: cached gold results, and the reward for speed."""

from pathlib import Path

from sqleval import Rows
from sqleval.run.cache import GoldCache, gold_key
from sqleval.run.judge import efficiency_reward
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
