"""Parts: what is made of a unit, on disk, so that a killed run goes on from the last unit and every core can help.

A line is either a rejected row, or a kept one: a short head of keys and counts, the example, and one field for each
training format, tab-separated. The second pass decides by the heads and copies the rest as it is.
"""

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from text2sql.artifacts import whole_file
from text2sql.data.formats import training_rows
from text2sql.data.normal import digest, normal_question, normal_sql, tables_read
from text2sql.data.options import CommonOptions, Format
from text2sql.data.source import MadeRow, Rejected, Source, Unit
from text2sql.data.sources import open_source
from text2sql.prompts import AnswerFormat, build_messages

KEYWORDS = (
    *("where", "join", "group by", "having", "order by", "limit", "distinct", "like", "between", "in", "is null", "or"),
    *("union", "intersect", "except", "exists", "case", "with", "over"),
)
_SPACED = tuple(f" {word} " for word in KEYWORDS)
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode


class Head(NamedTuple):
    """What the second pass looks at: keys of question, query and database; the prompt's length; counts for the report."""

    question: int
    query: int
    db_id: str
    chars: int
    difficulty: str
    tables: int
    keywords: list[int]
    linked: list[int] | tuple[int, ...]


class Kept(NamedTuple):
    """A kept row: its head, its example's line, and a line for each format."""

    head: Head
    example: bytes
    lines: list[bytes]


def write_part(target: Path, source: Source, options: CommonOptions, unit: Unit) -> None:
    """Make one unit and write its rows, whole or not at all."""
    formats = options.formats if unit.split in (*source.training_splits, "all") else []
    with whole_file(target) as out:
        for row in source.make(unit):
            out.write(_encode(asdict(row)) if isinstance(row, Rejected) else _line(row, options.answer_format, formats))
            out.write("\n")


def _line(made: MadeRow, how: AnswerFormat, formats: list[Format]) -> str:
    example = made.example
    messages = build_messages(example.question, example.schema, example.evidence, how)
    sql = normal_sql(example.sql)
    words = f" {sql} "
    head = Head(
        digest(normal_question(example.question)),
        digest(sql),
        example.db_id,
        sum(len(message["content"]) for message in messages),
        example.difficulty or "unknown",
        tables_read(sql),
        [number for number, keyword in enumerate(_SPACED) if keyword in words],
        made.linked,
    )
    return "\t".join(map(_encode, (head, example.__dict__, *training_rows(made, messages, how, formats))))


def read_part(path: Path) -> Iterator[Kept | dict[str, Any]]:
    """The rows of a part: kept ones, and rejected ones as they are written."""
    with path.open("rb") as lines:
        for line in lines:
            if line.startswith(b"{"):
                yield json.loads(line)
            else:
                head, example, *rest = line[:-1].split(b"\t")
                yield Kept(Head(*json.loads(head)), example, rest)


_worker: dict[str, Any] = {}


def start_worker(values: dict[str, Any], where: str) -> None:
    """Open the recipe's source in this process, which ends when the one that started it is killed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker["options"], _worker["source"] = open_source(values, where)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def make_in_worker(target: Path, unit: Unit) -> None:
    """:func:`write_part` with the source of this process."""
    write_part(target, _worker["source"], _worker["options"], unit)
