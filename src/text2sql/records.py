"""Records that rooms hand to each other, and their JSONL form: validated when read, replaced whole when written."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from text2sql.artifacts import whole_file
from text2sql.errors import UserError, first_complaint

_OPTIONAL = ("values", "references")


@dataclass(frozen=True)
class Reference:
    """A solved example that a prompt shows."""

    question: str
    sql: str


@dataclass(frozen=True)
class Example:
    """A question about one database with its gold SQL.

    ``schema`` is the rendered ``CREATE TABLE`` text that the prompt shows; ``difficulty`` is Spider's hardness
    (easy, medium, hard, extra); ``evidence`` is outside knowledge that the question relies on (BIRD); ``values`` are
    lines of stored values that it means (:mod:`text2sql.values`); ``references`` are solved examples that resemble it,
    the most alike first (:mod:`text2sql.rag`).
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
    values: str = ""
    references: tuple[Reference, ...] = ()

    @property
    def columns(self) -> dict[str, Any]:
        """The fields as they are written to files: ``values`` and ``references`` only where there are any."""
        found = {name: value for name, value in self.__dict__.items() if name not in _OPTIONAL or value}
        return found | ({"references": [asdict(row) for row in self.references]} if self.references else {})


def example_of(columns: Mapping[str, Any]) -> Example:
    """The example whose :attr:`Example.columns` these are."""
    references = tuple(Reference(**row) for row in columns.get("references") or ())
    return Example(**{**columns, "references": references})


@dataclass(frozen=True)
class TracedExample(Example):
    """An example with the ``reasoning`` that leads to its SQL, in steps, and its ``kind`` of task (sql or 多步推理)."""

    reasoning: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Prediction:
    """The SQL parsed from one completion. ``text`` is the completion as generated; ``sample`` numbers samples.

    ``logprob`` is the log-probability of the whole completion, where it is known. Where repair changed the SQL, ``raw`` is
    the text before and ``repairs`` say what was changed.
    """

    question_id: str
    db_id: str
    pred: str
    text: str = ""
    sample: int = 0
    logprob: float | None = None
    raw: str | None = None
    repairs: tuple[str, ...] | None = None


Standing = Literal["good", "not_stored", "empty", "failed"]
"""How far an executed answer is to be trusted, best first; see :mod:`text2sql.select`."""


@dataclass(frozen=True)
class Candidate(Prediction):
    """A prediction that was run: equal results of a question share their ``group``. ``score`` is a reward model's."""

    group: int = 0
    standing: Standing = "failed"
    score: float | None = None


@dataclass(frozen=True)
class Alternative:
    """Another answer to the same question, and the share of the votes that its result has."""

    pred: str
    share: float


@dataclass(frozen=True)
class Choice(Prediction):
    """The prediction that was chosen among several, its share of the votes, and the other answers, best first."""

    share: float = 0.0
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class RewardSample:
    """One completion to be rewarded. ``prompt`` is the text that was completed; ``tokens`` counts the completion's
    tokens where that is known (0: not known)."""

    prompt: str
    completion: str
    example: Example
    tokens: int = 0


Record = TypeVar("Record")


def read_jsonl(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Yield the records of a JSONL file; keys that ``kind`` does not have are ignored.

    Raises:
        UserError: the file is missing, or a line is not valid; the message names file, line and reason.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; prepare the data first (bash scripts/prepare_data.sh --help)")
    adapter = TypeAdapter(kind)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield adapter.validate_json(line, strict=True)
            except ValidationError as error:
                raise UserError(f"{path}:{number}: {first_complaint(error)}") from error


def _columns(record: Example | Prediction) -> dict[str, Any]:
    if isinstance(record, Example):
        return record.columns
    return {key: value for key, value in asdict(record).items() if value is not None}


def as_line(record: Example | Prediction | dict[str, Any]) -> str:
    """A record as one line of JSON; what is not known of a prediction (None) is left out."""
    return json.dumps(record if isinstance(record, dict) else _columns(record), ensure_ascii=False) + "\n"


def write_jsonl(path: Path, records: Iterable[Example | Prediction | dict[str, Any]]) -> int:
    """Write records to ``path`` whole; returns how many were written."""
    count = 0
    with whole_file(path) as out:
        for record in records:
            out.write(as_line(record))
            count += 1
    return count
