"""Completions and data sets as the reward commands read them, every complaint with file and line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from text2sql.errors import UserError, first_complaint
from text2sql.prompts import ask
from text2sql.records import Example, RewardSample, read_jsonl

PREPARED = Path("data/prepared")
_EXAMPLE = TypeAdapter(Example)


def read_samples(path: Path, examples: Path | None = None) -> list[RewardSample]:
    """Completions to score: JSONL, one object a line.

    A line has ``completion`` (or ``text``, as predictions have) and ``example`` with an example's fields, or these fields
    themselves, or a ``question_id`` that is found in ``examples`` (JSONL of examples, or a folder of them).
    ``prompt`` and ``tokens`` are optional.

    Raises:
        UserError: the file is missing, or a line does not say what is needed.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of completions")
    files = example_files(examples) if examples else []
    known = {e.question_id: e for file in files for e in read_jsonl(file, Example)}
    samples = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                samples += [_sample(json.loads(line), known)] if line.strip() else []
            except ValidationError as error:
                raise UserError(f"{path}:{number}: {first_complaint(error)}") from error
            except (ValueError, TypeError) as error:
                raise UserError(f"{path}:{number}: {error}") from error
    if not samples:
        raise UserError(f"{path}: holds no completions")
    return samples


def _sample(row: Any, known: Mapping[str, Example]) -> RewardSample:
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, found {type(row).__name__}")
    completion = row.get("completion", row.get("text"))
    if not isinstance(completion, str):
        raise ValueError("needs 'completion' (or 'text') with the completion's text")
    given, identity = row.get("example", row), row.get("question_id", "")
    if identity in known:
        example = known[identity]
    elif isinstance(given, dict) and {"db_id", "sql"} <= given.keys():
        example = _EXAMPLE.validate_python({"question_id": "", "question": "", "schema": "", **given})
    else:
        raise ValueError(
            f"no gold SQL: question_id {identity!r} is not in --examples, and the line has no db_id and sql"
        )
    prompt = row.get("prompt") or ask(example)[-1]["content"]
    return RewardSample(str(prompt), completion, example, int(row.get("tokens", 0)))


def example_files(where: Path) -> list[Path]:
    """JSONL files of examples: the file itself, those of a prepared data set's folder, or of its name (``toy``).

    Raises:
        UserError: there are none.
    """
    for place in (where, PREPARED / where):
        if place.is_file():
            return [place]
        found = sorted((place / "examples").glob("*.jsonl")) or sorted(place.glob("*.jsonl"))
        if found:
            return found
    raise UserError(f"{where}: no examples; give a JSONL file, a prepared folder, or the name of one under {PREPARED}")


def databases_of(where: Path) -> Path:
    """The folder of databases beside a prepared data set.

    Raises:
        UserError: there is none.
    """
    first = example_files(where)[0]
    for folder in (first.parent.parent, first.parent):
        if (folder / "database").is_dir():
            return folder / "database"
    raise UserError(f"{where}: no folder of databases beside it; name it with --database-root")
