"""Finished work on disk: written whole, made by one process at a time, and known to be current.

Long commands write under a temporary name and rename, so a killed run leaves nothing half-written under a final name. A
note beside the result says what it was made from, so a second run can tell that there is nothing to do.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from text2sql.errors import UserError

_LOCK = ".lock"


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in ``path``'s folder for the block to write a file at; it becomes ``path`` at the end.

    When the block raises, the temporary file is removed and ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open ``path`` for writing (``mode`` w or wb) so that it appears only when the block ends without an exception."""
    with whole_path(path) as partial, partial.open(mode, encoding=None if "b" in mode else "utf-8") as out:
        yield out


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with whole_file(path) as out:
        out.write(text)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file whole; paths and dates in it become text."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")


@contextmanager
def only_one(folder: Path) -> Iterator[int]:
    """Hold the lock of ``folder``; a child that inherits the yielded file descriptor holds it as long as it lives.

    Raises:
        UserError: another process holds it.
    """
    with locked(folder / _LOCK, f"{folder}: another process is at work there; wait for it, or stop it first") as lock:
        yield lock


@contextmanager
def locked(path: Path, message: str, wait: bool = False) -> Iterator[int]:
    """Hold an exclusive lock on the file ``path``, which is made where it is missing; yields its descriptor.

    Raises:
        UserError: another process holds it, and there is no ``wait``; says ``message``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(message) from None
        yield lock.fileno()


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty, locked temporary folder beside ``folder``, which replaces ``folder`` when the block ends.

    Raises:
        UserError: another process makes the same folder.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    with only_one(partial):
        for path in partial.iterdir():
            if path.name != _LOCK:
                remove(path)
        yield partial
        (partial / _LOCK).unlink()
        if folder.is_dir():
            shutil.rmtree(folder)
        partial.rename(folder)


def whole_lines(path: Path) -> None:
    """Cut off what a killed run left behind the last line end of a file that is only appended to."""
    if path.is_file() and not (raw := path.read_bytes()).endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(raw.rfind(b"\n") + 1)


def append_text(path: Path, text: str) -> None:
    """Append to a file in one write, which is on the disk when this returns."""
    with path.open("a", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def digest(*paths: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of files' contents, one behind the other."""
    found = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                found.update(chunk)
    return found.hexdigest()[:16]


def digest_of(value: object) -> str:
    """As :func:`digest`, of a value's JSON form; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def read_note(path: Path) -> dict[str, Any] | None:
    """A note written by :func:`write_note`; None where there is none, or it cannot be read."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and "made_of" in note else None


def write_note(path: Path, made_of: Mapping[str, Any], **more: Any) -> None:
    """Write down what a result was made of, and whatever else is worth keeping about it."""
    write_json(path, {"made_of": made_of, **more})


def is_current(path: Path, made_of: Mapping[str, Any]) -> bool:
    """Whether the note at ``path`` says that its result was made of exactly this."""
    note = read_note(path)
    return note is not None and digest_of(note["made_of"]) == digest_of(made_of)


def check_own(folder: Path, note: str, key: str) -> None:
    """Refuse to replace a folder that has files but no readable ``note``: somebody else's; ``key`` names it in the recipe.

    Raises:
        UserError: names the folder and the key.
    """
    if folder.is_dir() and read_note(folder / note) is None and any(folder.iterdir()):
        raise UserError(f"{folder} holds files of another origin; choose another {key}")
