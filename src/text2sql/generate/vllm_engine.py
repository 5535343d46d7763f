"""The vLLM engine: a subprocess in an environment of its own, because vLLM needs other versions than training does."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from text2sql.checkpoint.model import read_json
from text2sql.errors import UserError
from text2sql.generate.render import Renderer
from text2sql.generate.types import Completion, Decoding, Engine, EngineSettings, Request
from text2sql.plan.layout import gpu_count

logger = logging.getLogger(__name__)

WORKER = Path(__file__).with_name("vllm_worker.py")
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the ones vLLM accepts as max_lora_rank
_CHUNKS = 16  # completions arrive after this many batches at the latest, so that a killed run loses few of them


def vllm_python() -> Path | None:
    """The interpreter that has vLLM, None where there is none: this one, or that of .venv-vllm.

    With CUDA builds one environment trains and generates. ``TEXT2SQL_ENV_DIR`` names the folder of .venv-vllm.
    """
    if find_spec("vllm"):
        return Path(sys.executable)
    home = Path(os.environ.get("TEXT2SQL_ENV_DIR") or Path(__file__).parents[3]) / ".venv-vllm"
    installed = any(home.glob("lib/python3*/site-packages/vllm/__init__.py"))
    return home / "bin/python" if installed and (home / "bin/python").is_file() else None


class VllmEngine(Engine):
    """A worker process in the vLLM environment.

    Raises:
        UserError: the worker ended; the message has its last error and the path of its log.
    """

    name = "vllm"

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.renderer = Renderer(Path(settings.model_name_or_path), settings.enable_thinking, settings.max_model_len)
        with tempfile.NamedTemporaryFile("wb", prefix="vllm-", suffix=".log", delete=False) as log:
            self.log = Path(log.name)
            arguments = ["-P", str(WORKER), json.dumps(_worker_settings(settings, self.renderer.limit))]
            self.process = subprocess.Popen(
                [str(vllm_python()), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                env=_environment(),
            )
        logger.info("vLLM is loading %s", settings.model_name_or_path)
        try:
            self._read()
        except BaseException:  # also Ctrl-C: a worker left behind would keep its memory
            self.close()
            raise

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        """Yield completions chunk by chunk, short prompts first."""
        fitting, refused = self.renderer.admit(requests, decoding.n)
        yield from refused
        lengths = {request.key: len(ids) for request, ids in fitting}
        job = {
            "prompts": [{"key": request.key, "ids": ids} for request, ids in fitting],
            "chunk": self.settings.batch_size * _CHUNKS,
            "decoding": _sampling(decoding, self.renderer.end_ids),
        }
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._fail()
        while "done" not in (answer := self._read()):
            for sample, ids in enumerate(answer["outputs"]):
                yield self.renderer.complete(answer["key"], sample, lengths[answer["key"]], ids, decoding)

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            self._fail()
        message: dict[str, Any] = json.loads(line)
        return message

    def _fail(self) -> None:
        self.process.wait()
        lines = [line.strip() for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()]
        causes = [line for line in lines if "Error" in line] or lines[-1:] or ["no output"]
        kept = Path(shutil.move(self.log, self.log.with_suffix(".failed.log")))
        raise UserError(f"vLLM stopped with status {self.process.returncode}: {causes[-1][-300:]} (log: {kept})")

    def close(self) -> None:
        """End the worker."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.unlink(missing_ok=True)


def _worker_settings(settings: EngineSettings, limit: int) -> dict[str, Any]:
    gpu = bool(gpu_count()) or shutil.which("nvidia-smi") is not None
    llm: dict[str, Any] = {
        "model": str(Path(settings.model_name_or_path).resolve()),
        "dtype": settings.dtype if settings.dtype != "auto" else "bfloat16" if gpu else "float32",
        "max_model_len": limit,
        "max_num_seqs": settings.batch_size,
        "enable_prefix_caching": True,
        "enforce_eager": not gpu,
        "seed": 0,
    }
    if settings.adapter_name_or_path is not None:
        lora = read_json(settings.adapter_name_or_path / "adapter_config.json")
        rank = max([int(lora["r"]), *map(int, (lora.get("rank_pattern") or {}).values())])
        llm |= {"enable_lora": True, "max_lora_rank": next((r for r in _RANKS if r >= rank), rank)}
    return {
        "llm": llm,
        "adapter": str(settings.adapter_name_or_path.resolve()) if settings.adapter_name_or_path else None,
    }


def _sampling(decoding: Decoding, end_ids: list[int]) -> dict[str, Any]:
    same = {key: getattr(decoding, key) for key in ("n", "temperature", "top_p", "seed", "stop")}
    return {**same, "top_k": decoding.top_k or -1, "max_tokens": decoding.max_new_tokens, "stop_token_ids": end_ids}


def _environment() -> dict[str, str]:
    """The worker's variables: quiet, offline, and with little memory on a CPU, unless the user sets them."""
    defaults = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return defaults | inherited
