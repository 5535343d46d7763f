"""``python -m text2sql.fetch KIND NAME FOLDER [HUB]``: get a model or a data set; going on where a broken download stopped.

The hubs' own tools do the work; this turns their tracebacks into one line. KIND is model or dataset, HUB huggingface
(the default) or modelscope.
"""

import hashlib
import sys
from pathlib import Path

from text2sql.errors import UserError, run_command


def fetch(kind: str, name: str, folder: Path, hub: str = "huggingface") -> None:
    """Bring repository ``name`` to ``folder``.

    Raises:
        UserError: no network, no such repository, or no permission.
    """
    import requests

    try:
        (_from_modelscope if hub == "modelscope" else _from_huggingface)(kind, name, folder)
    except (requests.RequestException, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno == 28:
            raise
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise UserError(
            f"{name} could not be fetched from {hub} ({type(error).__name__}); check network and name and start again: it "
            f"goes on where it stopped. Without network, copy the files to {folder}"
        ) from error


def _from_huggingface(kind: str, name: str, folder: Path) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(name, local_dir=folder, repo_type=kind)
    _check(kind, name, folder)


def _from_modelscope(kind: str, name: str, folder: Path) -> None:
    """ModelScope's tool compares checksums itself, and removes what arrived damaged."""
    from modelscope import snapshot_download
    from modelscope_hub.errors import HubError

    try:
        snapshot_download(name, local_dir=str(folder), repo_type=kind)
    except HubError as error:
        raise ConnectionError(str(error)) from error


def _check(kind: str, name: str, folder: Path) -> None:
    """Compare every file with the checksum that the Hugging Face hub has of it; a wrong one is removed.

    Raises:
        UserError: a file is not what the hub has.
    """
    from huggingface_hub import HfApi

    for file in HfApi().repo_info(name, repo_type=kind, files_metadata=True).siblings or []:
        path = folder / file.rfilename
        expected = file.lfs.sha256 if file.lfs is not None else file.blob_id
        if expected is None or not path.is_file():
            continue
        if _checksum(path, large=file.lfs is not None) != expected:
            path.unlink()
            raise UserError(f"{path}: arrived damaged (checksum) and was removed; start again")


def _checksum(path: Path, large: bool) -> str:
    """SHA-256 of a large file, git's own hash of a small one: what the hub publishes for each."""
    if not large:
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> None:
    if (
        len(sys.argv) < 4
        or sys.argv[1] not in ("model", "dataset")
        or sys.argv[4:5] not in ([], ["huggingface"], ["modelscope"])
    ):
        sys.stdout.write(f"{__doc__}\n")
        sys.exit(0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2)
    fetch(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:5])


if __name__ == "__main__":
    run_command(main)
