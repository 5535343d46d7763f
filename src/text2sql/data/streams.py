"""Files as streams of bytes that parsers can read: unpacked, in UTF-8, and JSON without endless brackets."""

import codecs
import gzip
import io
from collections.abc import Callable
from typing import IO, Any

import ijson

from text2sql.errors import UserError

_TOO_DEEP = b"[" * 512


def unpacked(raw: IO[bytes], packing: str) -> IO[bytes]:
    """The stream without its packing: ``.gz``, ``.zst`` or none.

    Raises:
        UserError: zstandard is not installed.
    """
    if packing == ".gz":
        return gzip.open(raw)  # type: ignore[return-value]
    if packing == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise UserError(
                "reading .zst needs the package zstandard: pip install zstandard, or unpack the file"
            ) from error
        return io.BufferedReader(Frames(raw, zstandard.ZstdDecompressor().decompressobj))
    return raw


class Frames(io.RawIOBase):
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


class Utf8(io.RawIOBase):
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


class ReadableJson(Utf8):
    """JSON that stays readable: the parser keeps a path for every open bracket, so a run of them takes all memory."""

    too_deep = False

    def readinto(self, buffer: Any) -> int:
        if self.too_deep:
            raise ijson.JSONError("brackets are nested too deeply")
        count = super().readinto(buffer)
        place = bytes(buffer[:count]).find(_TOO_DEEP)
        self.too_deep = place >= 0
        return (place or self.readinto(buffer)) if self.too_deep else count
