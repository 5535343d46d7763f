"""Gold and prediction files, in the official text format, JSON or JSONL, joined into one list of tasks.

Everything wrong with a file is said here, with its name and line, before any SQL runs.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_GOLD_KEYS = ("query", "SQL", "sql", "gold", "gold_sql")
_PRED_KEYS = ("pred", "prediction", "predicted_sql", "sql", "SQL", "query")
_BIRD_MARK = "\t----- bird -----\t"


class InputError(Exception):
    """A file, folder or flag that the user has to correct: the message says where and what."""


def run_command(command: Callable[[], None]) -> int:
    """Run a command; returns its exit code (2 after an error that the user can correct)."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        command()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    return 0


@dataclass(frozen=True)
class Task:
    """One gold and one prediction. ``interaction`` and ``turn`` count from 0; ``line`` is the gold's line number."""

    index: int
    db_id: str
    gold: str
    pred: str
    interaction: int
    turn: int
    line: int
    question: str = ""
    difficulty: str = ""


@dataclass(frozen=True)
class _Line:
    """One non-empty entry of a file."""

    number: int
    text: str
    db_id: str = ""
    key: str = ""
    question: str = ""
    difficulty: str = ""


def read_tasks(gold_path: Path, pred_path: Path) -> list[Task]:
    """Pairs of gold and prediction, in the gold's order.

    Raises:
        InputError: a file is missing or unreadable, or the two do not fit together.
    """
    gold = _read_gold(gold_path)
    pred = _read_predictions(pred_path, gold, gold_path)
    tasks: list[Task] = []
    for interaction, (golds, preds) in enumerate(zip(gold, pred, strict=True)):
        for turn, (one, other) in enumerate(zip(golds, preds, strict=True)):
            if other.db_id and other.db_id != one.db_id:
                raise InputError(f"{pred_path}:{other.number}: db_id {other.db_id!r}, but the gold has {one.db_id!r}")
            about = (one.number, one.question, one.difficulty)
            tasks.append(Task(len(tasks), one.db_id, one.text, other.text, interaction, turn, *about))
            if not other.text.strip():
                log.warning("%s:%d: empty prediction, counted as wrong", pred_path, other.number)
    return tasks


def _text(path: Path, forgiving: bool) -> str:
    """Content of a file without a byte-order mark, line ends made ``\\n``; bad bytes are named by line."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path}:1: the file is UTF-16; save it as UTF-8")
    raw = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if not forgiving:
            line = raw[: error.start].count(b"\n") + 1
            raise InputError(f"{path}:{line}: not UTF-8 ({error.reason})") from error
    for number, piece in enumerate(raw.split(b"\n"), 1):
        try:
            piece.decode("utf-8")
        except UnicodeDecodeError as error:
            log.warning("%s:%d: not UTF-8 (%s), bad bytes are replaced", path, number, error.reason)
    return raw.decode("utf-8", errors="replace")


def _lines(path: Path, forgiving: bool) -> list[str]:
    lines = _text(path, forgiving).removesuffix("\n").split("\n")
    if not any(map(str.strip, lines)):
        raise InputError(f"{path}: the file is empty")
    return lines


def _objects(path: Path, forgiving: bool) -> list[tuple[int, dict[str, Any]]]:
    """Objects of a JSON list, a JSON mapping of ids to SQL (BIRD), or JSONL, with their line or place."""
    if path.suffix == ".jsonl":
        lines = enumerate(_lines(path, forgiving), 1)
        found = [(number, _json(path, line, number)) for number, line in lines if line.strip()]
    else:
        data = _json(path, _text(path, forgiving), 1)
        if isinstance(data, dict):
            data = [{"question_id": key, "pred": value} for key, value in data.items()]
        if not isinstance(data, list):
            raise InputError(f"{path}: expected a list of objects")
        found = list(enumerate(data, 1))
    for number, item in found:
        if not isinstance(item, dict):
            raise InputError(f"{path}:{number}: expected an object, found {type(item).__name__}")
    return found


def _json(path: Path, text: str, number: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}:{getattr(error, 'lineno', 1) - 1 + number}: not JSON ({error})") from error


def _first(item: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((str(item[key] or "") for key in keys if key in item), None)


def _read_gold(path: Path) -> list[list[_Line]]:
    if path.suffix in (".json", ".jsonl"):
        return [[_gold_object(path, number, item) for number, item in _objects(path, forgiving=False)]]
    found = []
    for number, line in enumerate(_lines(path, forgiving=False), 1):
        parts = line.strip().split("\t")
        if parts[0] and (len(parts) < 2 or not parts[-1].strip()):
            raise InputError(f"{path}:{number}: expected SQL, a tab and the database's name")
        found.append(_Line(number, parts[0], parts[-1].strip()))
    return _interactions(found)


def _interactions(lines: list[_Line]) -> list[list[_Line]]:
    """Groups of lines between empty ones."""
    return [list(turns) for filled, turns in groupby(lines, key=lambda line: bool(line.text)) if filled]


def _gold_object(path: Path, number: int, item: dict[str, Any]) -> _Line:
    sql = _first(item, _GOLD_KEYS)
    if sql is None or not item.get("db_id"):
        raise InputError(f"{path}:{number}: expected db_id and one of {', '.join(_GOLD_KEYS)}")
    key, question = str(item.get("question_id", "")), str(item.get("question") or "")
    return _Line(number, sql, str(item["db_id"]), key, question, str(item.get("difficulty") or ""))


def _read_predictions(path: Path, gold: list[list[_Line]], gold_path: Path) -> list[list[_Line]]:
    if path.suffix in (".json", ".jsonl"):
        flat = [line for turns in gold for line in turns]
        found = iter(_ordered(path, flat, [_pred_object(path, *entry) for entry in _objects(path, forgiving=True)]))
        return [[next(found) for _ in turns] for turns in gold]
    lines = [_Line(number, line.strip().split("\t")[0]) for number, line in enumerate(_lines(path, True), 1)]
    if len(gold) == 1:
        # One interaction: there is nothing to separate, so an empty line is an empty prediction.
        want = len(gold[0])
        while len(lines) > want and not lines[-1].text:
            lines.pop()
        _same_count(path, len(lines), want, f"{gold_path} has {want} golds")
        return [lines]
    interactions = _interactions(lines)
    _same_count(path, len(interactions), len(gold), f"{gold_path} has {len(gold)} interactions")
    for golds, preds in zip(gold, interactions, strict=True):
        where = f"the interaction at {gold_path}:{golds[0].number} has {len(golds)} turns"
        _same_count(path, len(preds), len(golds), where, preds[0].number)
    return interactions


def _same_count(path: Path, have: int, want: int, what: str, line: int | None = None) -> None:
    if have != want:
        raise InputError(f"{path}:{line or have}: {have} predictions here, but {what}")


def _pred_object(path: Path, number: int, item: dict[str, Any]) -> _Line:
    sql = _first(item, _PRED_KEYS)
    if sql is None:
        raise InputError(f"{path}:{number}: no prediction (expected the key 'pred')")
    sql, _, bird_db = sql.partition(_BIRD_MARK)
    # Line breaks mean nothing to SQL except that a line comment ends there, so they stay.
    return _Line(number, sql, str(item.get("db_id") or bird_db), str(item.get("question_id", "")))


def _ordered(path: Path, gold: list[_Line], pred: list[_Line]) -> list[_Line]:
    """Predictions in the gold's order: by question_id where both sides or their places have one, else as they come."""
    _same_count(path, len(pred), len(gold), f"there are {len(gold)} golds")
    by_key = {line.key: line for line in pred}
    for keys in ([line.key for line in gold], [str(place) for place in range(len(gold))]):
        if len(by_key) == len(pred) and set(keys) == set(by_key):
            return [by_key[key] for key in keys]
    return pred
