"""``python -m text2sql.llamafactory train RECIPE``: llamafactory-cli that knows our stages.

torchrun starts this very file once a process, with the recipe alone: LLaMA-Factory's launcher is told that it lives
here, so that every worker of every machine comes through the registration.
"""

import atexit
import logging
import os
import signal
import sys
import threading
from pathlib import Path

_HERE = Path(__file__).resolve()
if sys.path and Path(sys.path[0] or ".").resolve() == _HERE.parent:
    sys.path.pop(0)  # as torchrun starts it: names in this folder would hide packages of the same name

from text2sql.errors import UserError  # noqa: E402
from text2sql.llamafactory import register  # noqa: E402


def main() -> None:
    """Run LLaMA-Factory's command line, or its training where torchrun calls."""
    from llamafactory.extras.misc import is_env_enabled

    from llamafactory import launcher

    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("text2sql").setLevel(logging.INFO)
    launcher.__file__ = str(_HERE)
    try:
        if sys.argv[1:2] and sys.argv[1].endswith((".yaml", ".yml")):
            _work()
            _leave()
        if not is_env_enabled("FORCE_TORCHRUN"):  # else only its processes need what takes seconds to import
            register()
        launcher.launch()
    except UserError as error:  # the last line of the log is what text2sql.train reports
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(2)


def _work() -> None:
    """Train as one process of torchrun's.

    It ends with torchrun, whose processes lead sessions of their own and would train on after it was killed. DeepSpeed on
    CPUs would compile a communication kernel for minutes where a compiler is; gloo serves.
    """
    from torch import multiprocessing

    multiprocessing._prctl_pr_set_pdeathsig(signal.SIGKILL)
    if os.environ.get("DS_ACCELERATOR") == "cpu":
        from deepspeed import ops

        ops.__compatible_ops__["deepspeed_shm_comm"] = False
    from llamafactory.train.tuner import run_exp

    register()
    run_exp()


def _leave() -> None:
    """End this process, whose work is done: gloo's threads now and then abort one that Python takes apart.

    torchrun would report a run as failed that has saved everything, and stop processes that are still saving. What comes
    first at the end of a program comes first here: other threads end, functions left with atexit are called.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
