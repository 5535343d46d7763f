"""Commands end in one line where a user can put it right, and in a traceback where only we can."""

import errno
from pathlib import Path

import pytest

from text2sql.errors import UserError, run_command


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("x.yaml: no such recipe"), 2, "error: x.yaml: no such recipe\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out"),
            2,
            "error: no space left on the disk while writing out\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "out"),
            2,
            "error: out: Permission denied; correct the path",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: fail(error))
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(line)


def test_a_file_in_the_way_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        run_command(lambda: (tmp_path / "file" / "folder").mkdir())
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path}/file/folder: Not a directory; correct the path or its permissions\n"
    )


def test_mistakes_of_ours_are_not_hidden() -> None:
    for error in (FileNotFoundError(errno.ENOENT, "No such file", "x"), ValueError("ours")):
        with pytest.raises(type(error)):
            run_command(lambda error=error: fail(error))
