"""The way from a recipe to prepared data, the same for every source.

Units are written as parts, on every core where there is much to do, so that a run that was killed goes on where it
stopped; the report is written last and carries a stamp of recipe, inputs and code, so that an unfinished run is
never taken for a finished one.
"""

import hashlib
import json
import logging
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import text2sql
from text2sql.data.assemble import Assembler
from text2sql.data.outputs import data_hash, dataset_info, write_json
from text2sql.data.page import write_page
from text2sql.data.parts import make_in_worker, start_worker, write_part
from text2sql.data.sources import CommonOptions, Source, Unit, open_source
from text2sql.data.split import Splitter
from text2sql.data.statistics import require_tokenizer, token_lengths
from text2sql.errors import UserError

logger = logging.getLogger(__name__)

REPORT = "data_preparation_report.json"
PAGE = "data_preparation_report.html"
_CODE = ("data", "synth", "toy", "linking", "sql", "schema", "prompts.py", "records.py")


def prepare(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Prepare the data that a recipe's keys describe and return the report; at once where it is done already.

    Raises:
        UserError: a mistake in the recipe or in the source's files.
    """
    options, source = open_source(values, where)
    stamp = _stamp(values, source)
    report = finished_report(options.output, stamp)
    if report is not None:
        logger.info("%s is already prepared (data_hash %s)", options.output, report["data_hash"])
        return report
    if options.tokenizer is not None:
        require_tokenizer(options.tokenizer)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / REPORT).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{options.output}: cannot write there ({error.strerror}); choose output=FOLDER") from error
    folder = _parts_folder(options.output, stamp)
    parts = _make_parts(options, source, folder, (values, where))
    report = {"stamp": stamp, "recipe": values, **_write_outputs(options, source, parts)}
    write_page(options.output / PAGE, options.name, report)
    write_json(options.output / REPORT, report)
    shutil.rmtree(folder, ignore_errors=True)
    return report


def finished_report(output: Path, stamp: str | None = None) -> dict[str, Any] | None:
    """The report under ``output`` if all files it names are as they were written (and the stamp agrees)."""
    try:
        report: dict[str, Any] = json.loads((output / REPORT).read_text(encoding="utf-8"))
        if stamp is not None and report["stamp"] != stamp:
            return None
        intact = all(data_hash(output / name) == entry["data_hash"] for name, entry in report["files"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if intact else None


def _stamp(values: dict[str, Any], source: Source) -> str:
    """Changes with the recipe, the source's files and the code that makes the data."""
    package = Path(text2sql.__file__).parent
    code = [path for name in _CODE for path in [package / name, *(package / name).rglob("*")] if path.is_file()]
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
    for path in sorted(path for path in code if path.suffix in (".py", ".yaml")):
        digest.update(f"{path.relative_to(package)} {data_hash(path)}\n".encode())
    for path in source.inputs():
        if not path.is_file():
            raise UserError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
        size, changed = path.stat().st_size, path.stat().st_mtime_ns
        text = data_hash(path) if size < 1 << 26 else f"{size} {changed}"
        digest.update(f"{path.name} {text}\n".encode())
    return digest.hexdigest()[:16]


def _parts_folder(output: Path, stamp: str) -> Path:
    folder = output / f".parts-{stamp}"
    for other in output.glob(".parts-*"):
        if other != folder:
            shutil.rmtree(other)
    return folder


def _make_parts(
    options: CommonOptions, source: Source, folder: Path, recipe: tuple[dict[str, Any], str]
) -> dict[str, list[Path]]:
    """Make the units that have no part yet; returns the parts of each split in the source's order."""
    parts: dict[str, list[Path]] = {split: [] for split in source.splits}
    resumed = 0
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, transient=True) as progress, _makers(options, source, recipe) as make:
        task = progress.add_task("preparing", total=100)
        for unit in source.units():
            part = folder / unit.split / f"{unit.name}.jsonl"
            if part.is_file():
                resumed += 1
            else:
                make(part, unit)
            parts[unit.split].append(part)
            progress.update(task, completed=100 * unit.progress, description=f"{unit.split} {unit.name}")
    if resumed:
        logger.info("%d of %d parts were there from an earlier run", resumed, sum(map(len, parts.values())))
    return parts


@contextmanager
def _makers(
    options: CommonOptions, source: Source, recipe: tuple[dict[str, Any], str]
) -> Iterator[Callable[[Path, Unit], None]]:
    """A function that makes a part: here, or on ``source.jobs`` processes with two units waiting for each."""
    if source.jobs == 1:
        yield lambda part, unit: write_part(part, source, options, unit)
        return
    waiting: set[Future[None]] = set()
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(source.jobs, context, start_worker, recipe)

    def hand_out(part: Path, unit: Unit) -> None:
        nonlocal waiting
        if len(waiting) >= 2 * source.jobs:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
        waiting.add(pool.submit(make_in_worker, part, unit))

    try:
        yield hand_out
        for future in waiting:
            future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was ended from outside (out of memory?); start again: finished parts are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _write_outputs(options: CommonOptions, source: Source, parts: dict[str, list[Path]]) -> dict[str, Any]:
    output = options.output
    shares = getattr(options, "split", None)
    splitter = Splitter(shares, getattr(options, "split_by", ""), options.seed) if shares else None
    drop = getattr(options, "duplicates", "keep") == "drop"
    assembler = Assembler(options, source.taught, splitter, drop)
    rejected = output / "rejected.jsonl"
    partial = rejected.with_name(rejected.name + ".partial")
    with partial.open("wb") as out:
        for split, files in parts.items():
            assembler.write(split, files, out)
    partial.replace(rejected)
    splits = {name: statistics.as_dict() for name, statistics in assembler.statistics.items()}
    _refuse_nothing(splits, rejected)
    pairs = [rows for path, rows in assembler.rows.items() if path.name.startswith("ranking_")]
    if pairs and not any(pairs):
        raise UserError("formats: ranking needs rows with a worse query; say its column as columns.rejected=NAME")
    assembler.rows[rejected] = sum(sum(found["rejected"].values()) for found in splits.values())
    if options.tokenizer is not None:
        for name, found in splits.items():
            found["tokens"] = token_lengths(output / "examples" / f"{name}.jsonl", found["kept"], options.tokenizer)
    info = output / "dataset_info.json"
    write_json(info, dataset_info(options.name, source.taught, list(options.formats)))
    written: dict[str, Any] = {}
    for path in [*assembler.rows, info, *source.finish()]:
        entry = {"data_hash": data_hash(path)} | ({"rows": assembler.rows[path]} if path in assembler.rows else {})
        written[path.relative_to(output).as_posix()] = entry
    together = json.dumps({name: entry["data_hash"] for name, entry in written.items()}, sort_keys=True)
    return {
        "data_hash": hashlib.sha256(together.encode()).hexdigest()[:16],
        "splits": splits,
        "overlap": assembler.overlaps(),
        "files": written,
    }


def _refuse_nothing(splits: dict[str, Any], rejected: Path) -> None:
    """Preparing nothing at all is a mistake, and the first rejected row says which."""
    if any(found["kept"] for found in splits.values()):
        return
    with rejected.open(encoding="utf-8") as lines:
        line = next(lines, "")
    if not line:
        raise UserError("no row could be used: the files have none")
    first = json.loads(line)
    raise UserError(f"no row could be used; the first: {first['reason']} ({first['detail']}); see {rejected}")
