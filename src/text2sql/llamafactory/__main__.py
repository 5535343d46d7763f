"""``python -m text2sql.llamafactory train RECIPE``: llamafactory-cli with our stages.

torchrun starts the file of LLaMA-Factory's launcher once for each process, with the recipe as only argument. The launcher's
``__file__`` is set to this file, so that every process of every machine registers our stages before it trains.
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
    sys.path.pop(0)  # torchrun puts this folder there; its modules would hide packages of the same name

from text2sql.errors import UserError  # noqa: E402
from text2sql.llamafactory import register  # noqa: E402


def main() -> None:
    """Run LLaMA-Factory's command line, or its training in a process that torchrun started."""
    from llamafactory.extras.misc import is_env_enabled

    from llamafactory import launcher

    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("text2sql").setLevel(logging.INFO)
    launcher.__file__ = str(_HERE)
    try:
        if sys.argv[1:2] and sys.argv[1].endswith((".yaml", ".yml")):
            _work()
            _leave()
        if not is_env_enabled("FORCE_TORCHRUN"):  # else only torchrun's processes need it; it takes seconds to import
            register()
        launcher.launch()
    except UserError as error:  # the last line of the log is what text2sql.train reports
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(2)


def _work() -> None:
    """Train as one process of torchrun's.

    The process is killed when torchrun ends: it has a session of its own and would otherwise continue after torchrun was
    killed. On CPUs DeepSpeed would compile a communication kernel for minutes where there is a compiler; gloo replaces it.
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
    """End this process without Python's teardown, during which gloo's threads sometimes abort it.

    torchrun would then report as failed a run that has saved everything, and stop processes that are still saving. As at a
    normal end, other threads are joined and atexit functions called first.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
