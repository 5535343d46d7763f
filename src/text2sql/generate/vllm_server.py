"""vLLM's own OpenAI-compatible server as a child process, for callers that ask at any time and not in batches."""

import ctypes
import logging
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from text2sql.errors import UserError
from text2sql.generate.render import Renderer
from text2sql.generate.types import EngineSettings
from text2sql.generate.vllm_engine import environment, gpu_groups, vllm_python, worker_settings

logger = logging.getLogger(__name__)
NAME = "text2sql"
_START_SECONDS = 600
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@contextmanager
def vllm_server(settings: EngineSettings) -> Iterator[EngineSettings]:
    """Start ``vllm serve`` on a free port of this machine; yields settings of a client of it, and ends it afterwards.

    Raises:
        UserError: it ended while it started; the message has its last error.
    """
    limit = Renderer(Path(settings.model_name_or_path), settings.enable_thinking, settings.max_model_len).limit
    port = _free_port()
    command = [str(vllm_python()), "-P", "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--generation-config", "vllm", *_flags(settings, limit)]
    logger.info("vLLM is loading %s", settings.model_name_or_path)
    with tempfile.NamedTemporaryFile("w+", prefix="vllm-", suffix=".log") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(), preexec_fn=_die_with_parent)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, Path(log.name))
            yield replace(
                settings,
                engine="openai",
                base_urls=(f"{url}/v1",),
                model_name_or_path=NAME,
                adapter_name_or_path=None,
                max_model_len=limit,
                tensor_parallel_size=1,
                data_parallel_size=1,
            )
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _flags(settings: EngineSettings, limit: int) -> list[str]:
    worker = worker_settings(settings, limit)
    llm: dict[str, Any] = dict(worker["llm"])
    copies = len(gpu_groups(settings))
    if copies > 1:
        llm["data_parallel_size"] = copies
    if worker["adapter"]:
        llm["lora_modules"] = f"{NAME}={worker['adapter']}"
    llm["served_model_name"] = f"{NAME}-base" if worker["adapter"] else NAME
    flags = []
    for key, value in llm.items():
        if value is not False:
            flags += [f"--{key.replace('_', '-')}", *([] if value is True else [str(value)])]
    return flags


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = [line for line in log.read_text(errors="replace").splitlines() if "Error" in line]
            raise UserError(f"vLLM ended while it started: {lines[-1].strip()[:300] if lines else 'no reason given'}")
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2).status_code == httpx.codes.OK:
                return
        time.sleep(0.5)
    raise UserError(f"vLLM did not start within {_START_SECONDS} seconds")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """In the child: end when the process that started it does, however that ends."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGTERM)
