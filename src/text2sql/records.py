"""What crosses a module border, and its JSONL form: validated when read, replaced whole when written."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from text2sql.errors import UserError


@dataclass(frozen=True)
class Example:
    """A question about one database with its gold SQL.

    ``schema`` is the rendered ``CREATE TABLE`` text that the prompt shows; ``difficulty`` is Spider's hardness
    (easy, medium, hard, extra); ``evidence`` is outside knowledge that the question relies on (BIRD).
    """

    question_id: str
    db_id: str
    question: str
    schema: str
    sql: str
    evidence: str = ""
    source: str = ""
    split: str = ""
    difficulty: str = ""


@dataclass(frozen=True)
class TracedExample(Example):
    """An example that says how its SQL comes about: ``reasoning`` in steps, ``kind`` of task (sql or 多步推理)."""

    reasoning: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Prediction:
    """The SQL parsed from one completion. ``text`` is the completion as generated; ``sample`` numbers samples."""

    question_id: str
    db_id: str
    pred: str
    text: str = ""
    sample: int = 0


@dataclass(frozen=True)
class RewardSample:
    """One completion to be rewarded. ``prompt`` is the text that was completed; ``tokens`` counts the completion's
    tokens where that is known (0: not known)."""

    prompt: str
    completion: str
    example: Example
    tokens: int = 0


Record = TypeVar("Record", Example, TracedExample, Prediction)


def read_jsonl(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Yield the records of a JSONL file.

    Raises:
        UserError: the file is missing, or a line is not valid; the message names file, line and reason.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; prepare the data first (bash scripts/prepare_data.sh --help)")
    with path.open(encoding="utf-8", errors="strict") as lines:
        number = 0
        try:
            for number, line in enumerate(lines, 1):  # noqa: B007 (named in the complaint)
                if line.strip():
                    yield _parse(line, kind)
        except (ValueError, UnicodeDecodeError) as error:
            raise UserError(f"{path}:{number or 1}: {error}") from error


def _parse(line: str, kind: type[Record]) -> Record:
    row: Any = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, found {type(row).__name__}")
    known = {field.name: field for field in fields(kind)}
    missing = [n for n, f in known.items() if f.default is MISSING and n not in row]
    if missing:
        raise ValueError(f"missing key{'s' * (len(missing) > 1)}: {', '.join(missing)}")
    for name, field in known.items():
        if name in row and not isinstance(row[name], field.type):  # type: ignore[arg-type]
            raise ValueError(f"{name!r} should be {field.type}, found {type(row[name]).__name__}")
    return kind(**{name: row[name] for name in known if name in row})


def write_jsonl(path: Path, records: Iterable[Example | Prediction | dict[str, Any]]) -> int:
    """Write records to ``path`` under a temporary name and rename; returns how many were written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    count = 0
    with partial.open("w", encoding="utf-8") as out:
        for record in records:
            row = record if isinstance(record, dict) else asdict(record)
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)
    return count
