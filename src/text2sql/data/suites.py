"""Test suites of the databases that are trained on, so that rewards are for right answers and not for lucky ones.

On one instance of a database a constant, a key learnt by heart or a forgotten condition can give the gold's result. Each suite is
the database with a few fuzzed instances (:mod:`sqleval.suite`), in a folder that ``database_root`` of a GRPO recipe names.
It stands beside the prepared data and is no part of them: their bytes and hash do not depend on it.
"""

import logging
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import track

import sqleval
from text2sql.artifacts import digest, digest_of, is_current, only_one, read_note, remove, write_note
from text2sql.data.options import SuiteOptions
from text2sql.data.source import Source
from text2sql.errors import UserError
from text2sql.records import Example, read_jsonl

logger = logging.getLogger(__name__)

FOLDER = "suites"
_NOTE = "suite.json"
_VERSION = 1  # raise it when the same database and golds give other instances


class _Work(NamedTuple):
    """One database: its file, the golds asked of it, and the folder that its suite goes to."""

    database: Path
    golds: list[str]
    folder: Path
    options: SuiteOptions
    seed: int

    def made_of(self) -> dict[str, Any]:
        """What the suite depends on."""
        versions = {"version": _VERSION, "sqleval": sqleval.__version__, "seed": self.seed}
        asked = {"database": digest(self.database), "asked": digest_of(self.golds)}
        return {**versions, **asked, **{name: getattr(self.options, name) for name in ("instances", "tries", "golds")}}


def build_suites(source: Source, options: SuiteOptions) -> dict[str, Any]:
    """Build the suites of a prepared source's training databases that are not there yet; returns counts over all.

    A killed run goes on with the databases that are left; one that is repeated has nothing to do.

    Raises:
        UserError: the source has no databases, or they take more disk than ``max_mb``.
    """
    folder, started = source.options.output / FOLDER, time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder):
        works = list(_works(source, options, folder))
        if not works:
            raise UserError("suites: these data have no databases; leave the key out")
        for stale in {path for path in folder.iterdir() if path.is_dir()} - {work.folder for work in works}:
            remove(stale)
        waiting = [work for work in works if not _is_there(work)]
        size = sum(_size(work.folder) for work in works if work not in waiting)
        for more in track(_build_all(waiting), "suites", total=len(waiting), transient=True):
            size += more
            if size > options.max_mb << 20:
                raise UserError(f"suites: more than max_mb={options.max_mb} in {folder}; raise it, or lower instances")
        notes = [note for work in works if (note := read_note(work.folder / _NOTE))]
    counted = ("instances", "golds", "fixed", "neighbours", "undecided")
    total = {name: sum(note[name] for note in notes) for name in counted}
    total |= {"databases": len(works), "bytes": size, "seconds": round(time.monotonic() - started, 1)}
    logger.info(
        "%s: %d databases, %d instances, %.0f MB, %d built now in %.0f s; %.1f%% of the golds' neighbours told apart, "
        "%d of %d golds have one answer on all instances",
        folder, total["databases"], total["instances"], total["bytes"] / 2**20, len(waiting), total["seconds"],
        100 - 100 * total["undecided"] / max(total["neighbours"], 1), total["fixed"], total["golds"],
    )  # fmt: skip
    return total


def _works(source: Source, options: SuiteOptions, folder: Path) -> Iterator[_Work]:
    golds: dict[str, dict[str, None]] = {}
    for split in options.splits or source.training_splits:
        if split not in source.training_splits:
            raise UserError(f"suites.splits: {split!r} is none of {', '.join(source.training_splits)}")
        for example in read_jsonl(source.options.output / "examples" / f"{split}.jsonl", Example):
            golds.setdefault(example.db_id, {})[example.sql] = None
    for db_id, asked in golds.items():
        files = (root / db_id / f"{db_id}.sqlite" for root in source.database_roots)
        if (database := next((path for path in files if path.is_file()), None)) is not None:
            yield _Work(database, list(asked), folder / db_id, options, source.options.seed)


def _is_there(work: _Work) -> bool:
    files = len(list(work.folder.glob("*.sqlite")))
    note = read_note(work.folder / _NOTE)
    return note is not None and note.get("instances") == files and is_current(work.folder / _NOTE, work.made_of())


def _build_all(works: list[_Work]) -> Iterator[int]:
    """Build on every core; yields the bytes of each suite."""
    if not works:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(works), os.cpu_count() or 1), context) as pool:
        try:
            for done in as_completed([pool.submit(_build, work) for work in works]):
                yield done.result()
        except BrokenProcessPool as error:
            why = "suites: a process was ended from outside (out of memory?); start again: finished suites are kept"
            raise UserError(why) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _build(work: _Work) -> int:
    from sqleval.suite.build import build_suite

    remove(work.folder)
    options = work.options
    try:
        suite = build_suite(
            work.database,
            work.golds,
            work.folder,
            count=options.instances,
            tries=options.tries,
            tested=options.golds,
            seed=work.seed,
        )
    except (ValueError, sqlite3.Error) as error:
        raise UserError(f"suites: {work.database}: {error}") from error
    built = asdict(suite) | {"instances": len(suite.files)}
    del built["files"]
    write_note(work.folder / _NOTE, work.made_of(), **built)
    return _size(work.folder)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.sqlite"))
