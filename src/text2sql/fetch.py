"""Download a model or a data set with the hubs' own tools, whose tracebacks become one line here."""

import errno
import hashlib
from pathlib import Path
from typing import Annotated, Literal

import typer

from text2sql.errors import UserError, run_command
from text2sql.recipe.command import single

Kind = Literal["model", "dataset"]


def fetch_command(
    kind: Annotated[Kind, typer.Argument(help="What to download.", show_default=False)],
    name: Annotated[str, typer.Argument(help="The repository on the hub, for example Qwen/Qwen3-1.7B.")],
    folder: Annotated[Path, typer.Argument(help="Where its files go.")],
    hub: Annotated[Literal["huggingface", "modelscope"], typer.Argument(help="Where from.")] = "huggingface",
) -> None:
    """Download a model or a data set; a download that broke off continues where it stopped."""
    import requests

    try:
        (_from_modelscope if hub == "modelscope" else _from_huggingface)(kind, name, folder)
    except (requests.RequestException, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise UserError(
            f"{name} could not be fetched from {hub} ({type(error).__name__}); check network and name and start again: it "
            f"goes on where it stopped. Without network, copy the files to {folder}"
        ) from error


def _from_huggingface(kind: Kind, name: str, folder: Path) -> None:
    """Compare every file with the checksum that the hub publishes, too; a damaged one is removed."""
    from huggingface_hub import HfApi, snapshot_download

    snapshot_download(name, local_dir=folder, repo_type=kind)
    for file in HfApi().repo_info(name, repo_type=kind, files_metadata=True).siblings or []:
        path = folder / file.rfilename
        expected = file.lfs.sha256 if file.lfs is not None else file.blob_id
        if expected is not None and path.is_file() and _checksum(path, large=file.lfs is not None) != expected:
            path.unlink()
            raise UserError(f"{path}: arrived damaged (checksum) and was removed; start again")


def _from_modelscope(kind: Kind, name: str, folder: Path) -> None:
    """ModelScope's tool compares checksums itself, and removes files that arrived damaged."""
    from modelscope import snapshot_download
    from modelscope_hub.errors import HubError

    try:
        snapshot_download(name, local_dir=str(folder), repo_type=kind)
    except HubError as error:
        raise ConnectionError(str(error)) from error


def _checksum(path: Path, large: bool) -> str:
    """SHA-256 of a large file, git's blob hash of a small one: what the hub publishes for each."""
    if not large:
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    run_command(single(fetch_command))
