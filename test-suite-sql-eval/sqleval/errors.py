"""Errors in files and folders that stop a run, each reported in one line."""

import logging
import sys
from collections.abc import Callable


class InputError(Exception):
    """A file, folder or flag that the user has to correct: the message says where and what."""


def run_command(command: Callable[[], None]) -> int:
    """Run a command; returns its exit code (2 after an error that the user can correct)."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        command()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    return 0
