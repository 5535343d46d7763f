"""The way from a recipe to prepared data, the same for every source.

Units are written as parts, on every core where there is much to do, so that a run that was killed goes on where it
stopped; the report is written last and says what the data were made of, so that an unfinished run is never taken for a
finished one.
"""

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

import sqleval
from text2sql.artifacts import digest, digest_of, only_one, read_note, write_json, write_note
from text2sql.data.assemble import Assembler
from text2sql.data.parts import BASES, dataset_info, make_in_worker, start_worker, write_part
from text2sql.data.register import register
from text2sql.data.source import Source, Unit
from text2sql.data.sources import open_source
from text2sql.data.statistics import token_lengths, write_page
from text2sql.errors import UserError
from text2sql.prompts import PREPARED

logger = logging.getLogger(__name__)

DATA_VERSION = 2
"""Raise it whenever the same recipe and inputs give other rows than before: everyone's data are then prepared again.

That is after changes to prompts, schema rendering, linking, synthesis, toy databases, filters, splits or formats. What
changes with sqleval (hardness, the sandbox) is told by its own version.
"""
PAGE = "data_preparation_report.html"
_HASHED = 1 << 26  # bytes up to which an input is known by its contents, above by size and time of change


def prepare(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Prepare the data that a recipe's keys describe and return the report; at once where it is done already.

    Raises:
        UserError: a mistake in the recipe or in the source's files, or another process prepares the same folder.
    """
    source = open_source(values, where)
    report = _prepared(source, values, where)
    if source.options.suites is not None:
        from text2sql.data.suites import build_suites  # needs the evaluator's fuzzer, which most recipes do not

        build_suites(source, source.options.suites)
    return report


def _prepared(source: Source, values: dict[str, Any], where: str) -> dict[str, Any]:
    options = source.options
    output = options.output
    made_of = _made_of(values, source)
    report = finished_report(output, made_of)
    if report is not None:
        logger.info("%s is already prepared (data_hash %s)", output, report["data_hash"])
        register(options, source.training_splits)
        return report
    if options.tokenizer is not None and not (options.tokenizer / "tokenizer.json").is_file():
        missing = "no tokenizer.json; bash scripts/download_model.sh, or leave the key out"
        raise UserError(f"tokenizer: {options.tokenizer} has {missing}")
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / PREPARED).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot write there ({error.strerror}); choose output=FOLDER") from error
    with only_one(output):
        folder = output / f".parts-{digest_of(made_of)}"
        for other in set(output.glob(".parts-*")) - {folder}:  # of another recipe or other inputs
            shutil.rmtree(other)
        for partial in output.rglob("*.partial"):  # what a killed run left half-written
            partial.unlink()
        found = _write_outputs(source, _make_parts(source, folder, (values, where)), folder / BASES)
        write_page(output / PAGE, options.name, found)
        write_note(output / PREPARED, made_of, **found)
        shutil.rmtree(folder, ignore_errors=True)
    register(options, source.training_splits)
    return {"made_of": made_of, **found}


def finished_report(output: Path, made_of: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """The report under ``output`` if all files it names are as they were written (and were made of this)."""
    report = read_note(output / PREPARED)
    if report is None or (made_of is not None and digest_of(report["made_of"]) != digest_of(made_of)):
        return None
    try:
        intact = all(digest(output / name) == entry["data_hash"] for name, entry in report["files"].items())
    except (OSError, KeyError, TypeError, AttributeError):
        return None
    return report if intact else None


def _made_of(values: dict[str, Any], source: Source) -> dict[str, Any]:
    """What prepared data depend on: versions, recipe and the source's files."""
    inputs = []
    for path in source.inputs():
        if not path.is_file():
            raise UserError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
        found = path.stat()
        contents = digest(path) if found.st_size < _HASHED else f"{found.st_size} {found.st_mtime_ns}"
        inputs.append((path.name, contents))
    versions = {"data_version": DATA_VERSION, "sqleval": sqleval.__version__}
    recipe = {key: value for key, value in values.items() if key != "suites"}
    retrieved = {}
    if source.options.references is not None:
        from text2sql.data.references import provenance  # Milvus takes seconds to import

        retrieved["references"] = provenance(source.options.references)
    return {**versions, "inputs": digest_of(inputs), "recipe": recipe, **retrieved}


def _make_parts(source: Source, folder: Path, recipe: tuple[dict[str, Any], str]) -> dict[str, list[Path]]:
    """Make the units that have no part yet; returns the parts of each split in the source's order."""
    parts: dict[str, list[Path]] = {split: [] for split in source.splits}
    resumed = 0
    columns = [BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with (
        Progress(TextColumn("{task.description}"), *columns, transient=True) as progress,
        _makers(source, recipe) as make,
    ):
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
def _makers(source: Source, recipe: tuple[dict[str, Any], str]) -> Iterator[Callable[[Path, Unit], None]]:
    """A function that makes a part: here, or on ``source.jobs`` processes with two units waiting for each."""
    if source.options.references is not None:  # Milvus Lite serves one process
        from text2sql.data.references import reference_adder

        with reference_adder(source.options.references) as add:
            yield lambda part, unit: write_part(part, source, unit, add)
        return
    if source.jobs == 1:
        yield lambda part, unit: write_part(part, source, unit)
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
        why = "a worker process was ended from outside (out of memory?); start again: finished parts are kept"
        raise UserError(why) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _write_outputs(source: Source, parts: dict[str, list[Path]], bases: Path) -> dict[str, Any]:
    options, output = source.options, source.options.output
    assembler = Assembler(options, source.training_splits)
    rejected = assembler.write_all(parts)
    splits = {name: target.statistics.as_dict() for name, target in assembler.targets.items()}
    _check_kept(splits, rejected)
    pairs = [rows for path, rows in assembler.rows.items() if path.name.startswith("ranking_")]
    if pairs and not any(pairs):
        raise UserError("formats: ranking needs rows with a worse query; say its column as columns.rejected=NAME")
    assembler.rows[rejected] = sum(sum(found["rejected"].values()) for found in splits.values())
    if options.tokenizer is not None:
        for name, found in splits.items():
            found["tokens"] = token_lengths(
                output / "examples" / f"{name}.jsonl", found["kept"], options.tokenizer, options
            )
    info = output / "dataset_info.json"
    write_json(info, dataset_info(options.name, source.training_splits, options.formats))
    written: dict[str, Any] = {}
    for path in [*assembler.rows, info, *source.finish(bases)]:
        entry = {"data_hash": digest(path)} | ({"rows": assembler.rows[path]} if path in assembler.rows else {})
        written[path.relative_to(output).as_posix()] = entry
    data_hash = digest_of({name: entry["data_hash"] for name, entry in written.items()})
    return {"data_hash": data_hash, "splits": splits, "overlap": assembler.overlaps(), "files": written}


def _check_kept(splits: dict[str, Any], rejected: Path) -> None:
    """Preparing nothing at all is a mistake, and the first rejected row says which."""
    if any(found["kept"] for found in splits.values()):
        return
    with rejected.open(encoding="utf-8") as lines:
        first = next(map(json.loads, lines), None)
    if first is None:
        raise UserError("no row could be used: the files have none")
    raise UserError(f"no row could be used; the first: {first['reason']} ({first['detail']}); see {rejected}")
