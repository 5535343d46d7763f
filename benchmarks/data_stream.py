"""What streaming preparation costs: peak memory, and CPU time against the least that any preparation must spend.

    python benchmarks/data_stream.py [rows=1000000] [folder=FOLDER] [ledger=results/ledger.jsonl]

Makes a JSON array of ``rows`` rows (1.5 KB each: question, CREATE TABLE text of about 1.1 KB, SQL; fifty rows in a row
share a schema, as in published sets), then runs, each in processes of its own,

    bare      ijson over the file, and one parse of each SQL by sqlglot: the least that tells SQL from other text
    prepare   text2sql data on the file: all checks, SQL run on its schema, duplicates, both outputs

and compares CPU seconds over all processes. (The preparation has each query parsed by SQLite, which then runs it, and
by Spider's grammar for its hardness; sqlglot it asks only where there is no schema. So it may cost less than bare.)
Peak memory is the sum over all processes of the preparation, sampled.
"""

import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from text2sql import ledger

logger = logging.getLogger("data_stream")
_KINDS = ("INTEGER", "TEXT", "REAL", "DATE")
_SHARED = 50
_BARE = """
import sys, ijson, sqlglot
from sqlglot.dialects.sqlite import SQLite
with open(sys.argv[1], "rb") as stream:
    for row in ijson.items(stream, "item", use_float=True, buf_size=1 << 18):
        sqlglot.parse_one(row["sql"], read=SQLite)
"""


def write_rows(path: Path, rows: int) -> None:
    """A file of that many rows, whole or not at all."""
    rng = random.Random(7)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as out:
        out.write("[")
        schema: list[tuple[str, list[tuple[str, str]]]] = []
        text = ""
        for number in range(rows):
            if number % _SHARED == 0:
                schema = [(f"t{number}_{i}", _columns(rng)) for i in range(4)]
                text = " ".join(
                    f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, {', '.join(f'{c} {k}' for c, k in columns)});"
                    for name, columns in schema
                )
            out.write(",\n" * (number > 0) + json.dumps(_row(number, schema, text, rng)))
        out.write("]\n")
    partial.replace(path)


def _columns(rng: random.Random) -> list[tuple[str, str]]:
    return [(f"column_{rng.randrange(10**6)}_{i}", rng.choice(_KINDS)) for i in range(9)]


def _row(number: int, schema: list[tuple[str, list[tuple[str, str]]]], text: str, rng: random.Random) -> dict[str, str]:
    (one, columns), (other, others) = rng.sample(schema, 2)
    a, b, c = (name for name, _ in rng.sample(columns, 3))
    d = rng.choice(others)[0]
    value = rng.randrange(10**6)
    sql = rng.choice(
        (
            f"SELECT T1.{a}, count(*) FROM {one} AS T1 JOIN {other} AS T2 ON T1.id = T2.id WHERE T2.{d} > {value} GROUP BY 1",
            f"SELECT {a}, {b} FROM {one} WHERE {c} = 'v{value}' AND {b} IS NOT NULL ORDER BY {a} DESC LIMIT 10",
            f"SELECT avg({a}) FROM {one} WHERE {b} > (SELECT avg({b}) FROM {one} WHERE {c} < {value})",
            f"SELECT {a} FROM {one} WHERE {c} LIKE '%{value}%' UNION SELECT {d} FROM {other} WHERE {d} != {value}",
        )
    )
    asked = f"For record {number}, which {a} of {one} go with {b} near {value}, and what does {other} say about it?"
    return {"question": asked + " Please answer in full, as the report needs it. " * 2, "schema": text, "sql": sql}


def measured(command: list[str]) -> tuple[float, float, float, float]:
    """CPU seconds (all processes), wall seconds, peak memory in MB (sum of processes), and most busy processes at once."""
    started = time.monotonic()
    before = os.times()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        peaks = {"memory": 0.0, "busy": 0.0}
        watch = threading.Thread(target=_watch, args=(process, peaks))
        watch.start()
        process.wait()
        watch.join()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.monotonic() - started, peaks["memory"], peaks["busy"]


def _watch(process: "subprocess.Popen[bytes]", peaks: dict[str, float]) -> None:
    top = psutil.Process(process.pid)
    last: dict[int, float] = {}
    while process.poll() is None:
        memory = busy = 0.0
        try:
            for one in [top, *top.children(recursive=True)]:
                memory += one.memory_info().rss / 1e6
                spent = sum(one.cpu_times()[:2])
                busy += spent - last.get(one.pid, spent) > 0.1
                last[one.pid] = spent
        except psutil.NoSuchProcess:
            pass
        peaks["memory"], peaks["busy"] = max(peaks["memory"], memory), max(peaks["busy"], busy)
        time.sleep(0.5)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    rows, folder = int(given.get("rows", 1_000_000)), Path(given.get("folder", "outputs/bench/data_stream")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rows_{rows}.json"
    if not path.is_file():
        write_rows(path, rows)
    logger.info("%s: %d rows, %.2f GB", path, rows, path.stat().st_size / 1e9)
    bare, bare_wall, _, _ = measured([sys.executable, "-c", _BARE, str(path)])
    logger.info("bare: %.1f CPU seconds, %.1f seconds", bare, bare_wall)
    out = folder / "prepared"
    subprocess.run(["rm", "-rf", str(out)], check=True)
    recipe = ["recipes/data/rows.yaml", f"files.train=[{path}]", "folder=/", f"output={out}", "tokenizer=null"]
    cpu, wall, memory, busy = measured([sys.executable, "-m", "text2sql.data", *recipe])
    report = json.loads((out / "data_preparation_report.json").read_text(encoding="utf-8"))
    kept = report["splits"]["train"]["kept"]
    logger.info("prepare: %.1f CPU seconds, %.1f seconds, peak %.0f MB, %d processes busy", cpu, wall, memory, busy)
    logger.info("%d of %d rows kept; ratio of CPU time %.3f (goal 1.3)", kept, rows, cpu / bare)
    if "ledger" in given:
        metrics = {
            "ratio": round(cpu / bare, 4),
            "peak_rss_mb": round(memory, 1),
            "cpu_seconds": round(cpu, 1),
            "bare_cpu_seconds": round(bare, 1),
            "kept": kept,
            "busy_processes": busy,
        }
        row = ledger.new_row(
            "bench.data_stream",
            profile="cpu",
            seed=7,
            split="synthetic",
            n=rows,
            metrics=metrics,
            seconds=wall,
            protocol="CPU seconds of text2sql.data against ijson and sqlglot alone",
            data_hash=report["data_hash"],
        )
        ledger.append(Path(given["ledger"]), row)


if __name__ == "__main__":
    main()
