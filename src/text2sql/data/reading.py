"""Reads tables of any size as a stream: JSON arrays, JSON lines, CSV and Parquet, plain or compressed.

A row at fault must not cost the rows around it, so faults come out in place of rows, with a reason to count by;
where a file cannot be read on (it is cut off), the fault is its last row. JSON that the fast parser refuses (NaN,
numbers of more than 64 bits) is read on by Python's own, which reads whatever Python's writer may have written.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import ijson
import zstandard

from text2sql.data.streams import readable_json, unpacked, utf8
from text2sql.errors import UserError

_BROKEN = (ijson.JSONError, EOFError, gzip.BadGzipFile, zlib.error, UnicodeError, csv.Error, zstandard.ZstdError)
_MAX_CELL = 1 << 24
_PARQUET_ROWS = 256
_DECODER = json.JSONDecoder(strict=False, parse_constant=lambda name: None)  # NaN: Python's writers mean no value


@dataclass(frozen=True)
class Fault:
    """A row that could not be read: ``reason`` is a class to count by, ``detail`` says what was found."""

    reason: str
    detail: str


Row = dict[str, Any] | Fault


def read_rows(path: Path) -> Iterator[tuple[int, Row, float]]:
    """Yield ``(row number from 1, row or fault, share of the file read)``; memory does not grow with the file.

    Raises:
        UserError: the file is missing, or its name does not tell its format.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packing = suffixes.pop() if suffixes and suffixes[-1] in (".gz", ".zst") else ""
    kind = suffixes[-1] if suffixes else ""
    if kind not in _READERS:
        raise UserError(f"{path}: expected a file ending in {', '.join(_READERS)}, or one of these with .gz or .zst")
    size = max(1, path.stat().st_size)
    readers = [_READERS[kind], *([_slow_json] if kind == ".json" else [])]
    done = 0
    for reader in readers:
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            stream = stack.enter_context(unpacked(raw, packing))
            try:
                rows = enumerate(islice(reader(stream), done, None), done + 1)
                for done, row in rows:
                    yield done, row, min(1.0, raw.tell() / size)
                return
            except _BROKEN as error:
                reason = " ".join(str(error).split()) or type(error).__name__
    yield done + 1, Fault("file is cut off or damaged", f"{reason}; nothing after this row was read"), 1.0


def _json(stream: IO[bytes]) -> Iterator[Row]:
    """An array of objects; objects one after another are taken for lines."""
    text = readable_json(stream)
    is_lines = text.first() == b"{"
    nothing = not is_lines
    prefix = "" if is_lines else "item"
    for row in ijson.items(text, prefix, use_float=True, multiple_values=is_lines, buf_size=1 << 18):
        nothing = False
        yield _object(row)
    if nothing:
        yield Fault("no rows", "expected a JSON array of objects")


def _object(row: Any) -> Row:
    return row if isinstance(row, dict) else Fault("not an object", f"found {type(row).__name__}")


def _slow_json(stream: IO[bytes]) -> Iterator[Row]:
    """As :func:`_json`, with numbers of any size and NaN; a row is looked for in ever more text, up to a limit."""
    source = readable_json(stream)
    is_array = source.first() == b"["
    values = _Values(io.TextIOWrapper(io.BufferedReader(source, 1 << 16), encoding="utf-8"))
    if not is_array:
        if not values.next_mark():
            raise ijson.JSONError("the file is empty")
        while values.next_mark():
            yield _object(values.take())
        return
    mark = values.pass_mark()
    while mark != "]":
        yield _object(values.take())
        mark = values.pass_mark()
        if mark not in (",", "]"):
            raise ijson.JSONError(f"expected a comma or the array's end, found {mark or 'the end of the file'}")
    if values.next_mark():
        raise ijson.JSONError("more text follows the array")


class _Values:
    """The values in a text, and the marks between them."""

    def __init__(self, text: io.TextIOBase) -> None:
        self.text, self.ready = text, ""

    def next_mark(self) -> str:
        """The next character that is no space; nothing at the end."""
        self.ready = self.ready.lstrip()
        while not self.ready and self._more():
            self.ready = self.ready.lstrip()
        return self.ready[:1]

    def pass_mark(self) -> str:
        mark = self.next_mark()
        self.ready = self.ready[1:]
        return mark

    def take(self) -> Any:
        """The value that begins here.

        Raises:
            ijson.JSONError: there is none that ends.
        """
        self.next_mark()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.ready)
            except (ValueError, RecursionError) as error:
                if len(self.ready) > _MAX_CELL or not self._more():
                    raise ijson.JSONError(getattr(error, "msg", str(error))) from error
                continue
            if end < len(self.ready) or not self._more():  # a number at the end may have more digits
                self.ready = self.ready[end:]
                return value

    def _more(self) -> bool:
        chunk = self.text.read(max(1 << 16, len(self.ready)))
        self.ready += chunk
        return bool(chunk)


def _lines(stream: IO[bytes]) -> Iterator[Row]:
    for line in utf8(stream):
        if not line.strip():
            continue
        try:
            row = _DECODER.decode(line.decode())
        except (ValueError, RecursionError) as error:
            yield Fault("not valid JSON", str(error))
            continue
        yield _object(row)


def _csv(stream: IO[bytes], delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(_MAX_CELL)
    text = io.TextIOWrapper(utf8(stream), encoding="utf-8", newline="")
    reader = csv.DictReader(text, delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise
            yield Fault("not valid CSV", f"{error} (line {reader.line_num})")
            continue
        if row is None:
            return
        if None in row or None in row.values():
            expected = len(reader.fieldnames or ())
            yield Fault("wrong number of fields", f"expected {expected} (line {reader.line_num})")
        else:
            yield row


def _parquet(stream: IO[bytes]) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        if not stream.seekable():
            raise ValueError("a Parquet file has its own compression; unpack it first")
        for batch in parquet.ParquetFile(stream).iter_batches(_PARQUET_ROWS):
            yield from _parquet_rows(batch)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        yield Fault("file is cut off or damaged", f"{reason}; nothing after this row was read")


def _parquet_rows(batch: Any) -> Iterator[Row]:
    try:
        yield from batch.to_pylist()
        return
    except ValueError as error:  # a cell has no value in Python, such as text that is not UTF-8
        if batch.num_rows == 1:
            yield Fault("damaged text", " ".join(str(error).split()))
            return
    for place in range(batch.num_rows):
        yield from _parquet_rows(batch.slice(place, 1))


_READERS: dict[str, Callable[[IO[bytes]], Iterator[Row]]] = {
    ".json": _json,
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".csv": partial(_csv, delimiter=","),
    ".tsv": partial(_csv, delimiter="\t"),
    ".parquet": _parquet,
}
