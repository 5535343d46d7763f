"""``python -m text2sql.stages train RECIPE``: llamafactory-cli that knows our stages.

torchrun starts this very file once a process, with the recipe alone: LLaMA-Factory's launcher is told that it lives
here, so that every worker of every machine comes through the registration.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve()
if sys.path and Path(sys.path[0] or ".").resolve() == _HERE.parent:
    sys.path.pop(0)  # as torchrun starts it: names in this folder would hide packages of the same name

from text2sql.errors import UserError  # noqa: E402
from text2sql.stages import register  # noqa: E402


def main() -> None:
    """Run LLaMA-Factory's command line, or its training where torchrun calls."""
    from llamafactory import launcher
    from llamafactory.train.tuner import run_exp

    register()
    launcher.__file__ = str(_HERE)
    try:
        if sys.argv[1:2] and sys.argv[1].endswith((".yaml", ".yml")):
            run_exp()
        else:
            launcher.launch()
    except UserError as error:  # the last line of the log is what text2sql.train reports
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
