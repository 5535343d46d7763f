"""The command ``text2sql serve``: the HTTP API with its page."""

import errno
import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn
from rich.console import Console

from text2sql.errors import UserError, run_command
from text2sql.recipe import load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, single
from text2sql.serve.api import create_app
from text2sql.serve.guard import read_keys
from text2sql.serve.opened import open_answerer
from text2sql.serve.options import ServeOptions

_IDLE_SECONDS = 15
_MOST_CONNECTIONS = 512


def main(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Answer questions over HTTP, with a page for people; prints its address when it is ready. Ctrl-C ends it."""
    options = options_from(ServeOptions, load_recipe(recipe, overrides or []), str(recipe))
    read_keys(options.api_keys)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with _listening(options) as listening, open_answerer(options) as answerer:
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            create_app(options, answerer),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=int(options.limits.timeout),
            limit_concurrency=_MOST_CONNECTIONS,
        )
        signal.signal(signal.SIGTERM, _end)
        Console().print(f"ready: http://{_shown(options.host)}:{port}  (Ctrl-C ends it)", highlight=False)
        uvicorn.Server(config).run(sockets=[listening])


def _listening(options: ServeOptions) -> socket.socket:
    """A socket at the recipe's address, taken before the model is loaded, so that who comes early waits; 0 is any free port."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((options.host, options.port))
        found.listen(_MOST_CONNECTIONS)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {options.port} is in use; end what listens there, or give another: port=8081"
            ) from error
        raise UserError(f"{options.host}:{options.port}: cannot listen there ({error.strerror})") from error
    return found


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _end(_signal: int, _frame: FrameType | None) -> None:
    """uvicorn finishes its requests and then raises the signal again; what is open is closed on the way out."""
    sys.exit(0)


if __name__ == "__main__":
    run_command(single(main))
