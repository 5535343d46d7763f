"""``text2sql serve`` as a process: it answers when its address is printed, and ends cleanly when it is told to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_answers_when_it_says_so_and_ends_when_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "text2sql", "serve", "recipes/tiny/serve.yaml", "port=0", f"toy_output={tmp_path}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready: http://127.0.0.1:")
    body = {"question": "how many keepers are there", "database": "zoo_animals", "execute": True}
    answer = httpx.post(f"{line.split()[1]}/v1/text2sql", json=body, timeout=60).json()
    assert answer["result"]["rows"] == [[24]]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
