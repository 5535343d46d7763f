"""Reads tables of any size as a stream: JSON arrays, JSON lines, CSV and Parquet, plain or compressed.

A row at fault must not cost the rows around it, so faults come out in place of rows, with a reason to count by;
where a file cannot be read on (it is cut off), the fault is its last row.
"""

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import ijson

from text2sql.errors import UserError

FORMATS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_MAX_CELL = 1 << 24
_PARQUET_ROWS = 256
_TOO_DEEP = b"[" * 512


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
    if kind not in FORMATS:
        raise UserError(f"{path}: expected a file ending in {', '.join(FORMATS)}, or one of these with .gz or .zst")
    size = max(1, path.stat().st_size)
    number = 0
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        stream = stack.enter_context(_unpacked(raw, packing))
        try:
            for number, row in enumerate(_READERS[kind](stream), 1):
                yield number, row, min(1.0, raw.tell() / size)
        except _broken() as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            yield number + 1, Fault("file is cut off or damaged", f"{reason}; nothing after this row was read"), 1.0


def _unpacked(raw: IO[bytes], packing: str) -> IO[bytes]:
    if packing == ".gz":
        return gzip.open(raw)  # type: ignore[return-value]
    if packing == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise UserError(
                "reading .zst needs the package zstandard: pip install zstandard, or unpack the file"
            ) from error
        return io.BufferedReader(_Frames(raw, zstandard.ZstdDecompressor().decompressobj))
    return raw


def _broken() -> tuple[type[Exception], ...]:
    found: list[type[Exception]] = [ijson.JSONError, EOFError, gzip.BadGzipFile, zlib.error, UnicodeError, csv.Error]
    try:
        import zstandard

        found.append(zstandard.ZstdError)
    except ImportError:
        pass
    return tuple(found)


class _Frames(io.RawIOBase):
    """Compressed frames one after another. zstandard's own stream takes one that is cut off for the end of the file."""

    def __init__(self, raw: IO[bytes], new_frame: Callable[[], Any]) -> None:
        self.raw, self.new_frame = raw, new_frame
        self.frame: Any = None
        self.packed = self.ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            chunk = self.packed or self.raw.read(1 << 17)
            if not chunk:
                if self.frame is not None:
                    raise EOFError("the compressed data end too early")
                return 0
            self.frame = self.frame or self.new_frame()
            self.ready, self.packed = self.frame.decompress(chunk), b""
            if self.frame.eof:
                self.packed, self.frame = self.frame.unused_data, None
        count = min(len(buffer), len(self.ready))
        buffer[:count], self.ready = self.ready[:count], self.ready[count:]
        return count


class _Utf8(io.RawIOBase):
    """A stream of UTF-8 whatever the file's own marks say; bytes that are none come out as U+FFFD, seen by the checks."""

    def __init__(self, stream: IO[bytes]) -> None:
        head = stream.read(4)
        # A packed file that is cut off gives what it has by read1, and raises in a plain read.
        self.read_some = getattr(stream, "read1", stream.read)
        encoding = "utf-8"
        for mark, name in (
            (codecs.BOM_UTF8, "utf-8"),
            (codecs.BOM_UTF16_LE, "utf-16-le"),
            (codecs.BOM_UTF16_BE, "utf-16-be"),
        ):
            if head.startswith(mark):
                encoding, head = name, head[len(mark) :]
                break
        self.decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self.ready = self.decoder.decode(head).encode()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            chunk = self.read_some(len(buffer))
            self.ready = self.decoder.decode(chunk, not chunk).encode()
            if not chunk:
                break
        count = min(len(buffer), len(self.ready))
        buffer[:count], self.ready = self.ready[:count], self.ready[count:]
        return count

    def first(self) -> bytes:
        """The first byte that is no space, which stays unread; nothing where there is none."""
        while not self.ready.lstrip():
            chunk = self.read_some(1 << 16)
            self.ready = self.decoder.decode(chunk, not chunk).encode()
            if not chunk:
                return b""
        return self.ready.lstrip()[:1]


class _Json(_Utf8):
    """JSON that stays readable: the parser keeps a path for every open bracket, so a run of them takes all memory."""

    too_deep = False

    def readinto(self, buffer: Any) -> int:
        if self.too_deep:
            raise ijson.JSONError("brackets are nested too deeply")
        count = super().readinto(buffer)
        place = bytes(buffer[:count]).find(_TOO_DEEP)
        self.too_deep = place >= 0
        return (place or self.readinto(buffer)) if self.too_deep else count


def _text(stream: IO[bytes]) -> io.BufferedReader:
    return io.BufferedReader(_Utf8(stream), 1 << 16)


def _json(stream: IO[bytes]) -> Iterator[Row]:
    """An array of objects; objects one after another are taken for lines."""
    text = _Json(stream)
    return _objects(text) if text.first() == b"{" else _array(text)


def _array(text: io.RawIOBase) -> Iterator[Row]:
    nothing = True
    for row in ijson.items(text, "item", use_float=True, buf_size=1 << 18):
        nothing = False
        yield row if isinstance(row, dict) else Fault("not an object", f"found {type(row).__name__}")
    if nothing:
        yield Fault("no rows", "expected a JSON array of objects")


def _objects(text: io.RawIOBase) -> Iterator[Row]:
    for row in ijson.items(text, "", use_float=True, multiple_values=True, buf_size=1 << 18):
        yield row if isinstance(row, dict) else Fault("not an object", f"found {type(row).__name__}")


def _lines(stream: IO[bytes]) -> Iterator[Row]:
    for line in _text(stream):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Fault("not valid JSON", str(error))
            continue
        yield row if isinstance(row, dict) else Fault("not an object", f"found {type(row).__name__}")


def _csv(delimiter: str) -> Callable[[IO[bytes]], Iterator[Row]]:
    def read(stream: IO[bytes]) -> Iterator[Row]:
        csv.field_size_limit(_MAX_CELL)
        text = io.TextIOWrapper(_text(stream), encoding="utf-8", newline="")
        reader = csv.DictReader(text, delimiter=delimiter, strict=True)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "unexpected end" in str(error):
                    raise
                yield Fault("not valid CSV", f"{error} (line {reader.line_num})")
                continue
            if None in row or None in row.values():
                yield Fault(
                    "wrong number of fields", f"expected {len(reader.fieldnames or ())} (line {reader.line_num})"
                )
            else:
                yield row

    return read


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
    ".csv": _csv(","),
    ".tsv": _csv("\t"),
    ".parquet": _parquet,
}
