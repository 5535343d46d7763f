"""Databases to vote on beside the real one: its schema with other rows, made with the literals of the candidates."""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from sqleval.files import database_path
from sqleval.suite.fuzz import Fuzzer
from text2sql.artifacts import digest, digest_of, is_current, remove, whole_folder, write_note
from text2sql.records import Candidate

logger = logging.getLogger(__name__)
_NOTE = "instances.json"


def write_instances(database_root: Path, rows: Iterable[Candidate], count: int, out: Path) -> Path:
    """Write ``count`` fuzzed copies of every database that candidates are about; returns ``out``.

    ``out/<db_id>/fuzzed_<k>.sqlite`` depends only on the database and the candidates' texts, and is made once. A database
    that cannot be refilled has none, which is said.
    """
    texts: dict[str, dict[str, None]] = {}
    for row in rows:
        texts.setdefault(row.db_id, {})[row.pred] = None
    for db_id, sqls in texts.items():
        _write(database_path(database_root, db_id), list(sqls), count, out / db_id)
    return out


def _write(database: Path, sqls: Sequence[str], count: int, folder: Path) -> None:
    made_of = {"database": digest(database), "literals_of": digest_of(sqls), "count": count}
    if is_current(folder / _NOTE, made_of):
        return
    logger.info("making %d instances of %s", count, database.stem)
    with whole_folder(folder) as partial:
        try:
            fuzzer = Fuzzer(database, sqls)
            for number in range(count):
                (partial / f"fuzzed_{number}.sqlite").write_bytes(fuzzer.instance(number))
        except (sqlite3.Error, OverflowError) as error:
            logger.warning("%s: no fuzzed instances (%s); it votes on its own rows alone", database.stem, error)
            for written in partial.glob("*.sqlite*"):
                remove(written)
        write_note(partial / _NOTE, made_of)
