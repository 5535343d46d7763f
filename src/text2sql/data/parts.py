"""Parts: what is made of a unit, on disk, so that a killed run goes on from the last unit and every core can help.

A line is either a rejected row, or a kept one: a short head of keys and counts, the example, and one field for each
training format, tab-separated. The second pass decides by the heads and copies the rest as it is. LLaMA-Factory's
``dataset_info.json`` describes the formats.
"""

import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from text2sql.artifacts import whole_file
from text2sql.data.building import save_base
from text2sql.data.normal import digest, normal_question, normal_sql, tables_read
from text2sql.data.options import WHOLE, CommonOptions, Format
from text2sql.data.source import MadeRow, Rejected, Source, Unit
from text2sql.data.sources import open_source
from text2sql.prompts import AnswerFormat, Message, ask, gold_answer
from text2sql.records import Example, TracedExample

KEYWORDS = (
    *("where", "join", "group by", "having", "order by", "limit", "distinct", "like", "between", "in", "is null", "or"),
    *("union", "intersect", "except", "exists", "case", "with", "over"),
)
_SPACED = tuple(f" {word} " for word in KEYWORDS)
_FORMATS = yaml.safe_load(files(__package__).joinpath("formats.yaml").read_text(encoding="utf-8"))
BASES = "bases"
"""The folder among the parts of a run that holds databases as their tables came."""
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode


class Head(NamedTuple):
    """What the second pass looks at: keys of question, query and database; the prompt's length; counts for the report.

    ``kind`` and ``thinking``, a length in characters, are those of the row itself: empty and 0 where it has none.
    """

    question: int
    query: int
    db_id: str
    chars: int
    difficulty: str
    tables: int
    keywords: list[int]
    linked: list[int] | tuple[int, ...]
    kind: str
    thinking: int


class Kept(NamedTuple):
    """A kept row: its head, its example's line, and a line for each format, then as many for each further copy."""

    head: Head
    example: bytes
    lines: list[bytes]


Rows = Iterable[MadeRow | Rejected]


def write_part(target: Path, source: Source, unit: Unit, add: Callable[[Rows], Rows] | None = None) -> None:
    """Make one unit and write its rows, whole or not at all; ``add`` is what is done to them before."""
    options = source.options
    formats = options.formats if unit.split in (*source.training_splits, WHOLE) else []
    with whole_file(target) as out:
        for row in source.make(unit) if add is None else add(source.make(unit)):
            if isinstance(row, MadeRow) and row.built is not None:
                save_base(row.built, target.parents[1] / BASES)
            out.write(_encode(row._asdict()) if isinstance(row, Rejected) else _line(row, options, formats))
            out.write("\n")


def _line(made: MadeRow, options: CommonOptions, formats: list[Format]) -> str:
    example, how = made.example, options.answer_format
    messages = ask(example, how, options.system_prompt)
    sql = normal_sql(example.sql)
    words = f" {sql} "
    head = Head(
        digest(normal_question(example.question)),
        digest(sql),
        made.group or example.db_id,
        sum(len(message["content"]) for message in messages),
        example.difficulty or "unknown",
        tables_read(sql),
        [number for number, keyword in enumerate(_SPACED) if keyword in words],
        made.linked,
        getattr(example, "kind", ""),
        len(getattr(example, "reasoning", "")),
    )
    lines = training_rows(made, messages, how, formats)
    for copy in made.copies:
        again = ask(copy, how, options.system_prompt)
        if options.max_prompt_chars is None or sum(len(m["content"]) for m in again) <= options.max_prompt_chars:
            lines += training_rows(made._replace(example=copy), again, how, formats)
    return "\t".join(map(_encode, (head, _columns(made), *lines)))


def _columns(made: MadeRow) -> dict[str, str]:
    """The example's row; where its database is built, what that holds (:data:`.building.State`)."""
    return {**made.example.columns, **({"database": made.built.state} if made.built else {})}


def read_part(path: Path) -> Iterator[Kept | dict[str, Any]]:
    """The rows of a part: kept ones, and rejected ones as they are written."""
    with path.open("rb") as lines:
        for line in lines:
            if line.startswith(b"{"):
                yield json.loads(line)
            else:
                head, example, *rest = line[:-1].split(b"\t")
                yield Kept(Head(*json.loads(head)), example, rest)


_worker: dict[str, Source] = {}


def start_worker(values: dict[str, Any], where: str) -> None:
    """Open the recipe's source in this process, which ends when the one that started it is killed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker["source"] = open_source(values, where)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def make_in_worker(target: Path, unit: Unit) -> None:
    """:func:`write_part` with the source of this process."""
    write_part(target, _worker["source"], unit)


def file_of(kind: Format, split: str) -> str:
    """The training file of a format and split."""
    return f"{_FORMATS[kind]['file']}_{split}.jsonl"


def dataset_info(name: str, splits: tuple[str, ...], formats: list[Format]) -> dict[str, Any]:
    """LLaMA-Factory's description of the training files, for ``dataset_dir`` set to the output folder.

    Messages are ``<name>_<split>``; other formats have their own name at the end.
    """
    return {
        f"{name}_{split}{'' if kind == 'messages' else f'_{kind}'}": {"file_name": file_of(kind, split)}
        | _FORMATS[kind]["info"]
        for split in splits
        for kind in formats
    }


def training_rows(
    made: MadeRow, messages: list[Message], how: AnswerFormat, formats: list[Format]
) -> list[dict[str, Any] | None]:
    """The row's line in the training file of each format; None where it gives none: no preference pair, no database."""
    if not formats:
        return []
    example = made.example
    answer = _gold(example, how)
    whole = {"messages": [*messages, {"role": "assistant", "content": answer}]}
    rows: list[dict[str, Any] | None] = []
    for kind in formats:
        if kind == "messages":
            rows.append(whole)
        elif kind == "grpo":
            rows.append({**whole, **_columns(made)} if made.has_database else None)
        elif kind == "alpaca":
            system, user = (message["content"] for message in messages)
            rows.append({"system": system, "instruction": user, "input": "", "output": answer})
        else:
            rows.append(_ranking(made, messages, answer, how))
    return rows


def _ranking(made: MadeRow, messages: list[Message], answer: str, how: AnswerFormat) -> dict[str, Any] | None:
    """A preference pair, or None where there is no worse query, or none that differs."""
    if not made.rejected_sql or normal_sql(made.rejected_sql) == normal_sql(made.example.sql):
        return None
    worse = _gold(TracedExample(**{**made.example.__dict__, "sql": made.rejected_sql, "kind": ""}), how)
    chosen, rejected = ({"role": "assistant", "content": text} for text in (answer, worse))
    return {"messages": messages, "chosen": chosen, "rejected": rejected}


def _gold(example: Example, how: AnswerFormat) -> str:
    if how == "plain":
        return gold_answer(example.sql)
    from text2sql.sql import classify, find_issues
    from text2sql.synth.trace import trace

    reasoning = getattr(example, "reasoning", "") or trace(example.question, example.sql, example.schema)
    kind = getattr(example, "kind", "") or classify(example.sql).label
    issues = ", ".join(issue.name for issue in find_issues(example.sql, example.question, example.schema))
    return gold_answer(example.sql, how, reasoning, kind, issues or "none")
