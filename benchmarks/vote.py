"""How good a vote over published predictions is that no gold takes part in: seven files of Qwen3-1.7B on Spider dev.

``python benchmarks/vote.py`` makes a sample of each file, lets ``text2sql select`` choose, and scores the choices on the
databases themselves. The runs differ in training and prompt, so they disagree more than samples of one model. Printed are the
best single file, the vote by its rules added one by one, and the share that any file answers rightly. ``--ledger`` appends the
row spider.vote_published: ``plain_accuracy`` is a vote among results that are no errors and say something, ``values_accuracy``
puts candidates with stored literals first, ``execution_accuracy`` repairs candidates before, and ``instances_accuracy`` asks them
to agree on six fuzzed databases too, which is meant for accuracy on test suites and not on one database.
"""

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from agreement import read_rows, verdict_files
from frame import SHARED, Shared, ToLedger, record, run, say, show

from text2sql.artifacts import digest, write_text
from text2sql.errors import UserError
from text2sql.records import Example, write_jsonl
from text2sql.select.candidates import SelectOptions
from text2sql.select.choose import select

WAYS = {
    "plain": {"values": False},
    "values first": {},
    "repaired": {"repair": True},
    "repaired, six instances": {"repair": True, "instances": 6},
}
METRICS = {
    "best single file": "best_single_accuracy",
    "plain": "plain_accuracy",
    "values first": "values_accuracy",
    "repaired": "execution_accuracy",
    "repaired, six instances": "instances_accuracy",
    "any is right, plain": "oracle_accuracy",
}


def main(
    pattern: Annotated[str, typer.Option(help="Files of predictions in verdicts/spider_dev.")] = "qwen3_1p7b_*",
    jobs: int = os.cpu_count() or 1,
    shared: Shared = SHARED,
    ledger: ToLedger = False,
) -> None:
    """Vote, score, print, and append the row."""
    paths = verdict_files(shared / "verdicts/spider_dev", pattern)
    if not paths:
        raise UserError(f"{shared}: no verdicts/spider_dev/{pattern} there; set TEXT2SQL_SHARED or --shared")
    started = time.monotonic()
    n = len(read_rows(paths[0]))
    right = {"best single file": max(sum(bool(row["exec"]) for row in read_rows(path)) for path in paths)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {"examples": _examples(paths[0], folder), "predictions": [_lines(path, folder) for path in paths]}
        files["database_root"] = shared / "spider/database"
        for way, keys in WAYS.items():
            lines = select(SelectOptions(**files, **keys, output_dir=folder / way, jobs=jobs)).lines
            last = {line.way: line.score.correct for line in lines}
            right |= {way: last["vote"], f"any is right, {way}": last["oracle"]}
            say(f"{way}: {last['vote'] / n:.2%}, any is right: {last['oracle'] / n:.2%}")
    show(f"{len(paths)} files, n = {n}", ("right", "%"), [[k, f"{v:.0f}", f"{v / n:.1%}"] for k, v in right.items()])
    if ledger:
        metrics = {METRICS[name]: round(count / n, 6) for name, count in right.items() if name in METRICS}
        add = partial(record, "spider.vote_published", metrics, split="dev", n=n, protocol="spider-exec")
        decoding = f"vote of {len(paths)} published files"
        add(decoding=decoding, data_hash=digest(*paths), seconds=time.monotonic() - started)


def _examples(path: Path, folder: Path) -> Path:
    rows = enumerate(read_rows(path))
    write_jsonl(
        folder / "examples.jsonl", (Example(f"dev-{i}", r["db_id"], r["question"], "", r["gold"]) for i, r in rows)
    )
    return folder / "examples.jsonl"


def _lines(path: Path, folder: Path) -> Path:
    """The file's predictions, one line each."""
    target = folder / f"{path.name}.sql"
    write_text(target, "".join(" ".join(row["pred"].split()) + "\n" for row in read_rows(path)))
    return target


if __name__ == "__main__":
    run(main, __doc__)
