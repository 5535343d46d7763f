"""One exception for everything a user can put right, so that commands end in one line and not in a traceback."""

import errno
import logging
import sys
from collections.abc import Callable

_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)


class UserError(Exception):
    """A mistake in the input or the machine that the user can mend: says what, where and what to do."""


def run_command(main: Callable[[], None]) -> None:
    """Run a command's ``main``; a :class:`UserError` prints one line and exits with 2, Ctrl-C exits with 130."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        main()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
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
