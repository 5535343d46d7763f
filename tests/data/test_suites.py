"""Test suites that preparation builds for rewards: beside the data, resumed, bounded, and what the run says without them."""

import json
import logging
import sqlite3
from contextlib import closing

import pytest

from sqleval import Evaluator
from support.tables import recipe, write
from text2sql.data.options import SuiteOptions
from text2sql.data.prepare import prepare
from text2sql.errors import UserError
from text2sql.grpo import preflight

SCRIPT = """
CREATE TABLE visit (visit_id INTEGER PRIMARY KEY, guest TEXT, fee REAL);
INSERT INTO visit VALUES (1, 'Ann', 80.0), (2, 'Bo', 80.0), (3, 'Cy', 80.0);
"""
GOLDS = ["SELECT count(*) FROM visit", "SELECT avg(fee) FROM visit", "SELECT guest FROM visit WHERE visit_id = 2"]
TRICKS = [
    (GOLDS[0], "SELECT max(visit_id) FROM visit"),
    (GOLDS[0], "SELECT 3 + 0 * count(*) FROM visit"),
    (GOLDS[1], "SELECT CASE WHEN (SELECT count(*) FROM visit) > 0 THEN 80 END FROM visit LIMIT 1"),
    (GOLDS[1], "SELECT avg(fee) * 0 + 80 FROM visit"),
    (GOLDS[1], "SELECT max(fee) FROM visit"),
    (GOLDS[2], "SELECT 'Bo' FROM visit WHERE visit_id = 2"),
]


@pytest.fixture
def values(tmp_path):
    """A recipe for questions about two databases."""
    rows = []
    for db_id in ("zoo", "museum"):
        path = tmp_path / "databases" / db_id / f"{db_id}.sqlite"
        path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(path)) as db:
            db.executescript(SCRIPT)
        rows += [{"question": f"{sql}?", "sql": sql, "db_id": db_id} for sql in GOLDS]
    write(tmp_path / "a.json", rows)
    files = {"train": ["a.json"]}
    return recipe(tmp_path, files, formats=["grpo"], database_root=str(tmp_path / "databases"), seed=3)


def test_suites_stand_beside_the_data_and_are_not_built_twice(values, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    plain = prepare(values, "r")
    values["suites"] = {"instances": 5}
    assert prepare(values, "r")["data_hash"] == plain["data_hash"]
    folder = tmp_path / "out" / "suites"
    files = sorted(path.name for path in (folder / "zoo").glob("*.sqlite"))
    assert files == ["zoo.sqlite", *(f"zoo_suite{n}.sqlite" for n in range(1, 6))]
    note = json.loads((folder / "zoo" / "suite.json").read_text(encoding="utf-8"))
    assert (note["golds"], note["instances"], note["fixed"]) == (3, 6, 0)
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*.sqlite")}
    (folder / "museum" / "museum_suite2.sqlite").unlink()  # as a killed run leaves it
    prepare(values, "r")
    again = {path: path.stat().st_mtime_ns for path in folder.rglob("*.sqlite")}
    assert again.keys() == made.keys()
    assert {path.parent.name for path in made if again[path] != made[path]} == {"museum"}
    assert "1 built now" in caplog.text
    with Evaluator(folder, "spider-test-suite+keep_distinct", jobs=0, cache=None) as evaluator:
        assert [trick for gold, trick in TRICKS if evaluator.score("zoo", gold, trick).correct] == []
        assert all(evaluator.score("museum", gold, gold).correct for gold in GOLDS)


def test_disk_is_bounded_and_splits_are_known(values):
    values["suites"] = {"splits": ["dev"]}
    with pytest.raises(UserError, match="'dev' is none of train"):
        prepare(values, "r")
    values["suites"] = {"max_mb": 1, "instances": 100, "tries": 1}
    with pytest.raises(UserError, match="more than max_mb=1"):
        prepare(values, "r")
    assert SuiteOptions().max_mb == 2000


def test_a_run_on_single_instances_says_so(values, tmp_path, caplog):
    prepare(values | {"suites": {}}, "r")
    info = {"dataset": "mine_train_grpo", "dataset_dir": str(tmp_path / "out"), "per_device_train_batch_size": 8}
    for root, warned in ((tmp_path / "databases", True), (tmp_path / "out" / "suites", False)):
        caplog.clear()
        preflight.check({**info, "database_root": str(root)}, tmp_path / "r.yaml", 1, 0)
        assert ("one instance of 2 of 2 databases" in caplog.text) is warned
    caplog.clear()
    single = {**info, "database_root": str(tmp_path / "out" / "suites"), "reward_protocol": "spider-exec"}
    preflight.check(single, tmp_path / "r.yaml", 1, 0)
    assert "one instance of 2 of 2 databases" in caplog.text
