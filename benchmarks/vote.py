"""How good a vote over published predictions is that no gold takes part in: seven files of Qwen3-1.7B on Spider dev.

``python benchmarks/vote.py`` makes a sample of each file, lets ``text2sql select`` choose, and scores the choices on the
databases themselves. The runs differ in training and prompt, so they disagree more than samples of one model. Printed are the
best single file, the vote by its rules added one by one, and the share that any file answers rightly. ``--ledger`` appends the
row spider.vote_published, whose ``execution_accuracy`` is the vote by all rules; ``plain_accuracy`` is a vote among results that
are no errors and say something.
"""

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from agreement import read_rows, verdict_files
from frame import SHARED, Shared, ToLedger, record, run, show

from text2sql.artifacts import digest, write_text
from text2sql.errors import UserError
from text2sql.records import Example, write_jsonl
from text2sql.select.candidates import SelectOptions
from text2sql.select.choose import select
from text2sql.select.measure import Line

WAYS = {
    "plain": {"values": False},
    "values first": {},
    "values, repaired": {"repair": True},
    "values, instances": {"instances": 6},
    "all": {"repair": True, "instances": 6},
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
    singles = [sum(bool(row["exec"]) for row in read_rows(path)) for path in paths]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {"examples": _examples(paths[0], folder), "predictions": [_lines(path, folder) for path in paths]}
        files["database_root"] = shared / "spider/database"
        found = {
            way: select(SelectOptions(**files, **keys, output_dir=folder / way, jobs=jobs))
            for way, keys in WAYS.items()
        }
    n = len(found["all"].choices)
    show(
        f"{len(paths)} files, n = {n}",
        ("right", "accuracy"),
        [_row("best single file", max(singles), n)]
        + [_row(f"vote, {way}", _line(found[way].lines, "vote").score.correct, n) for way in WAYS]
        + [
            _row(f"any is right, {way}", _line(found[way].lines, "oracle").score.correct, n) for way in ("plain", "all")
        ],
    )
    if ledger:
        add = partial(
            record, split="dev", n=n, protocol="spider-exec", decoding=f"vote of {len(paths)} published files"
        )
        metrics = {
            "best_single_accuracy": max(singles) / n,
            "oracle_accuracy": _accuracy(found["plain"].lines, "oracle"),
        }
        metrics |= {
            "execution_accuracy": _accuracy(found["all"].lines),
            "plain_accuracy": _accuracy(found["plain"].lines),
        }
        metrics |= {"values_accuracy": _accuracy(found["values first"].lines)}
        add(
            "spider.vote_published",
            {key: round(value, 6) for key, value in metrics.items()},
            data_hash=digest(*paths),
            seconds=time.monotonic() - started,
        )


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


def _line(lines: list[Line], way: str) -> Line:
    return [line for line in lines if line.way == way][-1]


def _accuracy(lines: list[Line], way: str = "vote") -> float:
    return _line(lines, way).score.accuracy


def _row(name: str, right: float, n: int) -> list[str]:
    return [name, f"{right:.0f}", f"{right / n:.1%}"]


if __name__ == "__main__":
    run(main, __doc__)
