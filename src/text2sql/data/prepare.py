"""The way from a recipe to prepared data, the same for every source.

Units are written as parts, so that a run that was killed goes on where it stopped; the report is written last
and carries a stamp of recipe, inputs and code, so that an unfinished run is never taken for a finished one.
"""

import hashlib
import json
import logging
import random
import shutil
import time
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import text2sql
from text2sql.data.outputs import (
    data_hash,
    dataset_info,
    write_examples,
    write_json,
    write_part,
    write_rejected,
    write_training_file,
)
from text2sql.data.sources import CommonOptions, Source, open_source
from text2sql.data.statistics import SplitStatistics
from text2sql.errors import UserError

logger = logging.getLogger(__name__)

REPORT = "data_preparation_report.json"
_CODE = ("data", "synth", "world", "prompts.py", "records.py", "schema.py")


def prepare(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Prepare the data that a recipe's keys describe and return the report; at once where it is done already.

    Raises:
        UserError: a mistake in the recipe or in the source's files.
    """
    began = time.monotonic()
    options, source = open_source(values, where)
    stamp = _stamp(values, source)
    report = finished_report(options.output, stamp)
    if report is not None:
        logger.info("%s is already prepared (data_hash %s)", options.output, report["data_hash"])
        return report
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / REPORT).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{options.output}: cannot write there ({error.strerror}); choose output=FOLDER") from error
    parts = _make_parts(source, _parts_folder(options.output, stamp))
    report = {
        "stamp": stamp,
        "recipe": values,
        **_write_outputs(options, source, parts),
        "seconds": round(time.monotonic() - began, 1),
    }
    write_json(options.output / REPORT, report)
    shutil.rmtree(_parts_folder(options.output, stamp))
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
            raise UserError(f"{path}: no such file")
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


def _make_parts(source: Source, folder: Path) -> dict[str, list[Path]]:
    """Make the units that have no part yet; returns the parts of each split in the source's order."""
    parts: dict[str, list[Path]] = {split: [] for split in source.splits}
    resumed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("preparing", total=100)
        for unit in source.units():
            part = folder / unit.split / f"{unit.name}.jsonl"
            if part.is_file():
                resumed += 1
            else:
                write_part(part, unit)
            parts[unit.split].append(part)
            progress.update(task, completed=round(100 * unit.progress), description=f"{unit.split} {unit.name}")
    if resumed:
        logger.info("%d of %d parts were there from an earlier run", resumed, sum(map(len, parts.values())))
    return parts


def _write_outputs(options: CommonOptions, source: Source, parts: dict[str, list[Path]]) -> dict[str, Any]:
    output, splits, rows = options.output, {}, {}
    for split, files in parts.items():
        statistics = SplitStatistics(options.max_prompt_chars)
        examples = output / "examples" / f"{split}.jsonl"
        write_examples(files, examples, statistics)
        splits[split] = statistics.as_dict()
        rows[examples] = statistics.kept
        if split in source.taught:
            shuffle = random.Random(options.seed) if split.startswith("train") else None
            target = output / f"sft_{split}.jsonl"
            rows[target] = write_training_file(examples, target, options.max_prompt_chars, shuffle)
    rejected = output / "rejected.jsonl"
    rows[rejected] = write_rejected([part for files in parts.values() for part in files], rejected)
    info = output / "dataset_info.json"
    write_json(info, dataset_info(options.name, source.taught))
    written: dict[str, Any] = {}
    for path in [*rows, info, *source.finish()]:
        entry = {"data_hash": data_hash(path)} | ({"rows": rows[path]} if path in rows else {})
        written[path.relative_to(output).as_posix()] = entry
    together = json.dumps({name: entry["data_hash"] for name, entry in written.items()}, sort_keys=True)
    return {
        "data_hash": hashlib.sha256(together.encode()).hexdigest()[:16],
        "splits": splits,
        "files": written,
    }
