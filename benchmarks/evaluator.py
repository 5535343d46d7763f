"""How much faster the evaluator is than the official one, on the 1,034 questions of Spider dev.

``python benchmarks/evaluator.py --official DIR`` runs both here, in turn, and prints ratios of their medians; DIR is a
checkout of the official evaluator (github.com/taoyds/test-suite-sql-eval), run by ``--official-python``, which has its
dependencies (nltk, sqlparse, tqdm). ``--ledger`` appends the figures to the results ledger. Without ``--official`` our
times alone are printed, and there is no ratio.
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

MODES = ("exec", "plug_value")
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
    if ledger and official is None:
        raise UserError("--ledger: a row has a ratio; give --official a checkout of the official evaluator")
    if official is not None and not (official / "evaluation.py").is_file():
        raise UserError(f"{official}: no evaluation.py there; clone github.com/taoyds/test-suite-sql-eval")
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(items, Path(folder))
        for mode in MODES:
            commands = {"ours": our_command(files, database, mode)}
            if official is not None:
                commands["official"] = official_command([official_python, "-c", _OFFICIAL], files, shared, mode)
            found = measure(commands, official)
            ours, other = found["ours"], found.get("official")
            say(f"{mode}: {ours.wall:.2f} s, {ours.cpu:.2f} s CPU")
            metrics = {"wall_seconds": ours.wall, "cpu_seconds": ours.cpu}
            if other is not None:
                metrics |= {"ratio": other.wall / ours.wall, "cpu_ratio": other.cpu / ours.cpu}
                metrics |= {"official_seconds": other.wall, "official_cpu_seconds": other.cpu}
                say(f"{mode}: official {other.wall:.2f} s, {other.cpu:.2f} s CPU")
                say(f"{mode}: {metrics['ratio']:.1f} times faster, {metrics['cpu_ratio']:.1f} times less CPU")
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


def measure(commands: dict[str, list[str]], official: Path | None) -> dict[str, Timing]:
    """Median wall and CPU seconds of each command, which are run in turn; the official one in its folder."""
    walls: dict[str, list[float]] = {name: [] for name in commands}
    cpus: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            cpu, start = cpu_seconds(), time.perf_counter()
            where = official if name == "official" else None
            subprocess.run(command, check=True, capture_output=True, cwd=where)
            walls[name].append(time.perf_counter() - start)
            cpus[name].append(cpu_seconds() - cpu)
    return {name: Timing(statistics.median(walls[name]), statistics.median(cpus[name])) for name in commands}


def cpu_seconds() -> float:
    """CPU time of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def our_command(files: tuple[Path, Path], database: Path, mode: str) -> list[str]:
    """The whole command, start-up included, nothing cached."""
    script = ROOT / "test-suite-sql-eval/evaluation.py"
    command = [sys.executable, str(script), "--gold", str(files[0]), "--pred", str(files[1]), "--db", str(database)]
    flags = ["--etype", "exec", "--protocol", "spider-exec", "--jobs", "2", "--no-cache"]
    return [*command, *flags, *(["--plug_value"] if mode == "plug_value" else [])]


# The official word tokenizer wants a download; the rule-based part of it gives the same words for SQL.
_OFFICIAL = (
    "import nltk, runpy, sys; from nltk.tokenize import NLTKWordTokenizer as T; nltk.word_tokenize = T().tokenize; "
    "sys.argv[0] = 'evaluation.py'; sys.path.insert(0, '.'); runpy.run_path('evaluation.py', run_name='__main__')"
)


def official_command(program: list[str], files: tuple[Path, Path], shared: Path, mode: str) -> list[str]:
    """The official evaluator's command."""
    gold, pred = map(str, files)
    command = [*program, "--gold", gold, "--pred", pred, "--db", str((shared / "spider/database").absolute())]
    command += ["--table", str((shared / "spider/tables.json").absolute()), "--etype", "exec"]
    return [*command, *(["--plug_value"] if mode == "plug_value" else [])]


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
