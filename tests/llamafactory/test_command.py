"""The process that trains: what it says of its layout, and how it ends."""

import signal
import subprocess
import sys

import pytest

from text2sql.llamafactory.training import Layout


def test_the_layout_in_words() -> None:
    words = str(Layout(2, 2, 1, 2, "torch AdamW", 15, 16))
    assert words == (
        "layout: data 2 x tensor 2 (15 layers sharded) x pipeline 1 = 4 processes, ZeRO stage 2, optimizer torch AdamW, "
        "global batch 16 sequences"
    )
    assert "1 process, no ZeRO" in str(Layout(1, 1, 1, 0, "torch AdamW", 0, 16))


LEAVING = """
import atexit, os, sys
from text2sql.llamafactory import __main__ as stages

class Threads:
    "Gloo's, when Python takes the process apart."
    def __del__(self):
        os.abort()

kept = Threads()
atexit.register(sys.stdout.write, " closed")
stages._work = lambda: sys.stdout.write("saved")
sys.argv = ["worker", {argument!r}]
{end}
"""


@pytest.mark.parametrize(("end", "code"), [("stages.main()", 0), ("stages._work()", -signal.SIGABRT)])
def test_a_process_that_has_saved_everything_cannot_be_aborted_on_its_way_out(end: str, code: int) -> None:
    """The second way is the control: the process as Python would end it."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVING.format(argument="recipe.yaml", end=end)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr[-2000:]
    assert code or done.stdout == "saved closed"
