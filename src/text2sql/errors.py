"""One exception for everything a user can put right, so that commands end in one line and not in a traceback."""

import errno
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)


class UserError(Exception):
    """A mistake in the input or the machine that the user can mend: says what, where and what to do."""


def run_command(main: Callable[..., object], **named: Any) -> None:
    """Run a command's function or Typer application; what a user did wrong becomes one line and exit code 2.

    ``named`` goes to a Typer application (``args``, ``prog_name``). Ctrl-C exits with 130.
    """
    import typer

    usage_error: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        code = main(standalone_mode=False, **named) if isinstance(main, typer.Typer) else main()
        if isinstance(code, int) and code:
            sys.exit(code)
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            sys.stderr.write(f"error: {error.format_message().rstrip('.')}; see --help\n")
        sys.exit(2)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            sys.stderr.write(f"error: no space left on the disk while writing {error.filename or 'output'}\n")
        elif error.errno in _NO_PLACE and error.filename:
            sys.stderr.write(f"error: {error.filename}: {error.strerror}; correct the path or its permissions\n")
        else:
            raise
        sys.exit(2)


def first_complaint(error: "ValidationError") -> str:
    """The first thing that pydantic found wrong, in a line: which key, what it should be, and what it is."""
    found = error.errors(include_url=False)[0]
    key, said = ".".join(map(str, found["loc"])), found["msg"]
    if found["type"] == "missing":
        return f"missing {key}"
    if found["type"] == "literal_error":
        return f"{key} is one of {found['ctx']['expected'].replace(chr(39), '')}, not {found['input']!r}"
    if found["type"] == "json_invalid":
        return f"not JSON ({said.removeprefix('Invalid JSON: ')})"
    if found["type"] == "value_error":
        return f"{key}: {found['ctx']['error']}" if key else str(found["ctx"]["error"])
    wanted = said.partition(" should ")[2].replace("be a valid ", "be ", 1) or said
    return f"{key + ' ' if key else ''}should {wanted}, not {found['input']!r}"
