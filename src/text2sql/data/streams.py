"""Files as streams of bytes that parsers can read: unpacked, in UTF-8, and JSON without endless brackets."""

import codecs
import gzip
import io
from collections.abc import Iterator
from typing import IO, Any

import ijson
import zstandard

_TOO_DEEP = b"[" * 512
_CHUNK = 1 << 18
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class ByteStream(io.RawIOBase):
    """Chunks of bytes as one stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks, self.ready = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready and (chunk := next(self.chunks, None)) is not None:
            self.ready = chunk
        count = min(len(buffer), len(self.ready))
        buffer[:count], self.ready = self.ready[:count], self.ready[count:]
        return count

    def first(self) -> bytes:
        """The first byte that is no space, which stays unread; nothing where there is none."""
        while not self.ready.lstrip() and (chunk := next(self.chunks, None)) is not None:
            self.ready = chunk
        return self.ready.lstrip()[:1]


def unpacked(raw: IO[bytes], packing: str) -> IO[bytes]:
    """The stream without its packing: ``.gz``, ``.zst`` or none."""
    if packing == ".gz":
        return gzip.open(raw)  # type: ignore[return-value]
    return io.BufferedReader(ByteStream(_frames(raw))) if packing == ".zst" else raw


def _frames(raw: IO[bytes]) -> Iterator[bytes]:
    """Frames of zstandard one after another; its own stream takes one that is cut off for the end of the file."""
    frame, packed = None, b""
    while packed := packed or raw.read(1 << 17):
        frame = frame or zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(packed)
        packed = frame.unused_data if frame.eof else b""
        frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("the compressed data end too early")


def utf8(stream: IO[bytes]) -> io.BufferedReader:
    """A stream of UTF-8 whatever the file's own marks say; what cannot be decoded becomes U+FFFD, seen by the checks."""
    return io.BufferedReader(ByteStream(_recoded(stream)), 1 << 16)


def readable_json(stream: IO[bytes]) -> ByteStream:
    """As :func:`utf8`, up to brackets nested too deeply: the parser keeps a path for each, which would take all memory."""
    return ByteStream(_shallow(_recoded(stream)))


def _recoded(stream: IO[bytes]) -> Iterator[bytes]:
    head = stream.read(4)
    mark, encoding = next((pair for pair in _MARKS if head.startswith(pair[0])), (b"", "utf-8"))
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    yield decoder.decode(head[len(mark) :]).encode()
    # A packed file that is cut off gives what it has by read1, and raises in a plain read.
    read_some = getattr(stream, "read1", stream.read)
    while chunk := read_some(_CHUNK):
        yield decoder.decode(chunk).encode()
    yield decoder.decode(b"", True).encode()


def _shallow(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        place = chunk.find(_TOO_DEEP)
        if place >= 0:
            yield chunk[:place]
            raise ijson.JSONError("brackets are nested too deeply")
        yield chunk
