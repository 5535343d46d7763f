"""How much faster the evaluator is than the official one, on the 1,034 questions of Spider dev.

``python benchmarks/evaluator.py`` prints ratios; ``--ledger`` appends them to the results ledger. The other side of
the ratio is the official evaluator's published time, or, with ``--official DIR`` (a checkout of it, run by
``--official-python``), its time on this machine just now.
"""

import gzip
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from frame import ROOT, SHARED, Shared, ToLedger, record, run, say

from sqleval import Evaluator, Limits, Protocol
from sqleval.run.worker import Session
from text2sql.artifacts import digest_of
from text2sql.errors import UserError

# Seconds of the official evaluator for 1,034 pairs, one process, two-core machine (verdicts/README.md); the lower ends.
OFFICIAL_SECONDS = {"exec": 5.0, "plug_value": 15.0}
RUNS = 3
Item = tuple[str, str, str]


@dataclass(frozen=True)
class Timing:
    """Medians of several runs: wall and CPU seconds, this process's children included."""

    wall: float
    cpu: float


def main(
    model: Annotated[str, typer.Option(help="Whose predictions are scored.")] = "codes_7b",
    official: Annotated[
        Path | None, typer.Option(help="Checkout of the official evaluator, to measure it here.")
    ] = None,
    official_python: Annotated[str, typer.Option(help="Interpreter with its dependencies.")] = sys.executable,
    shared: Shared = SHARED,
    ledger: ToLedger = False,
) -> None:
    """Measure, print, and append to the ledger if asked to."""
    path, database = shared / "verdicts/spider_dev" / f"{model}.jsonl.gz", shared / "spider/database"
    if not path.is_file():
        raise UserError(f"{path}: not there; set TEXT2SQL_SHARED or --shared")
    items = [(row["db_id"], row["gold"], row["pred"].strip().split("\t")[0]) for row in read_rows(path)]
    say(f"{len(items)} pairs of {model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(items, Path(folder))
        for mode, seconds in OFFICIAL_SECONDS.items():
            ours, other = measure(lambda mode=mode: run_ours(files, database, mode)), Timing(seconds, seconds)
            if official:
                other = time_official([official_python, "-c", _OFFICIAL], official, files, shared, mode)
            metrics = {"ratio": other.wall / ours.wall, "wall_seconds": ours.wall, "cpu_seconds": ours.cpu}
            metrics["official_seconds"] = other.wall
            against = "measured now" if official else "published, lower end"
            say(f"{mode}: {ours.wall:.2f} s, {ours.cpu:.2f} s CPU; official {other.wall:.2f} s ({against})")
            if official:
                metrics["cpu_ratio"] = other.cpu / ours.cpu
                say(f"{mode}: CPU {other.cpu:.2f} s official, {metrics['cpu_ratio']:.1f} times less")
            if mode == "exec":
                metrics |= throughput(database, items)
            if ledger:
                record(
                    f"bench.evaluator_{mode}",
                    metrics,
                    split="spider_dev",
                    n=len(items),
                    data_hash=digest_of(items),
                    seconds=ours.wall,
                    protocol=Protocol(plug_value=mode == "plug_value").label,
                )


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_files(items: Sequence[Item], folder: Path) -> tuple[Path, Path]:
    """Gold and prediction files in the official format."""
    gold, pred = folder / "gold.sql", folder / "pred.sql"
    gold.write_text("".join(f"{sql}\t{db_id}\n" for db_id, sql, _ in items), encoding="utf-8")
    pred.write_text("".join(" ".join(sql.split("\n")) + "\n" for _, _, sql in items), encoding="utf-8")
    return gold, pred


def measure(call: Callable[[], object], runs: int = RUNS) -> Timing:
    """Median wall and CPU seconds of a call that runs child processes."""
    walls, cpus = [], []
    for _ in range(runs):
        cpu, start = cpu_seconds(), time.perf_counter()
        call()
        walls.append(time.perf_counter() - start)
        cpus.append(cpu_seconds() - cpu)
    return Timing(statistics.median(walls), statistics.median(cpus))


def cpu_seconds() -> float:
    """CPU time of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def run_ours(files: tuple[Path, Path], database: Path, mode: str) -> None:
    """The whole command, start-up included, nothing cached."""
    script = ROOT / "test-suite-sql-eval/evaluation.py"
    command = [sys.executable, str(script), "--gold", str(files[0]), "--pred", str(files[1]), "--db", str(database)]
    flags = ["--etype", "exec", "--protocol", "spider-exec", "--jobs", "2", "--no-cache"]
    subprocess.run(
        [*command, *flags, *(["--plug_value"] if mode == "plug_value" else [])], check=True, capture_output=True
    )


# The official word tokenizer wants a download; the rule-based part of it gives the same words for SQL.
_OFFICIAL = (
    "import nltk, runpy, sys; from nltk.tokenize import NLTKWordTokenizer as T; nltk.word_tokenize = T().tokenize; "
    "sys.argv[0] = 'evaluation.py'; sys.path.insert(0, '.'); runpy.run_path('evaluation.py', run_name='__main__')"
)


def time_official(program: list[str], checkout: Path, files: tuple[Path, Path], shared: Path, mode: str) -> Timing:
    """The official evaluator's time on this machine."""
    gold, pred = map(str, files)
    command = [*program, "--gold", gold, "--pred", pred, "--db", str(shared / "spider/database")]
    command += ["--table", str(shared / "spider/tables.json"), "--etype", "exec"]
    command += ["--plug_value"] if mode == "plug_value" else []
    return measure(lambda: subprocess.run(command, check=True, capture_output=True, cwd=checkout), runs=1)


def throughput(database: Path, items: Sequence[Item]) -> dict[str, float]:
    """Verdicts a second of score_batch, and the cost of a verdict over bare execution of the same predictions."""
    with Evaluator(database, jobs=2, timeout=30, cache=None, remember=False) as evaluator:
        for _ in range(3):  # both workers meet every gold
            evaluator.score_batch(items)
        warm = min(timed(lambda: evaluator.score_batch(items)) for _ in range(RUNS))
    with Evaluator(database, jobs=2, timeout=30, cache=None) as evaluator:
        evaluator.score_batch(items)
        known = min(timed(lambda: evaluator.score_batch(items)) for _ in range(RUNS))
    bare, judged = overhead(database, items)
    say(
        f"score_batch: {len(items) / warm:.0f} verdicts a second with warm golds, {len(items) / known:.0f} for repeated items"
    )
    say(f"one process: {bare:.3f} CPU s bare, {judged:.3f} judged ({judged / bare:.2f} times)")
    return {
        "verdicts_per_second": len(items) / warm,
        "repeated_per_second": len(items) / known,
        "overhead_ratio": judged / bare,
    }


def timed(call: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def overhead(database: Path, items: Sequence[Item]) -> tuple[float, float]:
    """CPU seconds of running all predictions barely, and of judging them with golds known."""
    open_files = {
        db_id: sqlite3.connect(f"file:{database}/{db_id}/{db_id}.sqlite?mode=ro", uri=True) for db_id, _, _ in items
    }
    for connection in open_files.values():
        connection.text_factory = lambda text: text.decode(errors="ignore")

    def bare() -> None:
        for db_id, _, pred in items:
            try:
                open_files[db_id].execute(pred).fetchall()
            except (sqlite3.Error, sqlite3.Warning):
                continue

    session = Session(database, Protocol(), Limits(timeout=30), None)

    def judged() -> None:
        session.begin()
        for item in items:
            session.score(*item)

    found = []
    for call in (bare, judged):
        call()
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return found[0], found[1]


if __name__ == "__main__":
    run(main, __doc__)
