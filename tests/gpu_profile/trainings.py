"""Runs several trainings in one process: ``python trainings.py FILE``, a JSON list of recipes as LLaMA-Factory reads them.

Importing everything takes longer than a step of the tiny base; liger's kernels, once enabled, stay so for the process.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    from llamafactory.train.tuner import run_exp

    for recipe in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        run_exp(recipe)


if __name__ == "__main__":
    main()
