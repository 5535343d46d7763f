"""The vLLM engine: subprocesses, because on CPUs vLLM needs other versions than training does, and each GPU its own process."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn

from text2sql.checkpoint.model import read_json
from text2sql.errors import UserError
from text2sql.generate.render import Renderer
from text2sql.generate.types import Completion, Decoding, Engine, EngineSettings, Request
from text2sql.plan.layout import gpu_count

logger = logging.getLogger(__name__)

WORKER = Path(__file__).with_name("vllm_worker.py")
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the ones vLLM accepts as max_lora_rank


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
    """Worker processes in the vLLM environment, one on each group of ``tensor_parallel_size`` GPUs; questions are dealt out.

    Raises:
        UserError: there are fewer GPUs than the settings ask for, or a worker ended; the message has its last error and the
            path of its log.
    """

    name = "vllm"

    def __init__(self, settings: EngineSettings) -> None:
        self.renderer = Renderer(Path(settings.model_name_or_path), settings.enable_thinking, settings.max_model_len)
        groups = gpu_groups(settings)
        self.workers: list[_Worker] = []
        logger.info("vLLM is loading %s (%d x)", settings.model_name_or_path, len(groups))
        try:
            for gpus in groups:
                self.workers.append(_Worker(worker_settings(settings, self.renderer.limit), gpus))
            for worker in self.workers:
                worker.wait()
        except BaseException:  # also Ctrl-C: a worker left behind would keep its memory
            self.close()
            raise

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        """Yield completions as workers answer; each gets every n-th prompt, so that all have short and long ones."""
        fitting, refused = self.renderer.admit(requests, decoding.n)
        yield from refused
        lengths = {request.key: len(ids) for request, ids in fitting}
        prompts = [{"key": request.key, "ids": ids} for request, ids in fitting]
        sampling, count = _sampling(decoding, self.renderer.end_ids), len(self.workers)
        arrived: SimpleQueue[dict[str, Any] | Future[None]] = SimpleQueue()
        pool = ThreadPoolExecutor(count)
        try:
            for number, worker in enumerate(self.workers):
                job = {"prompts": prompts[number::count], "decoding": sampling}
                pool.submit(worker.answer, job, arrived.put).add_done_callback(arrived.put)
            while count:
                answer = arrived.get()
                if isinstance(answer, Future):
                    answer.result()
                    count -= 1
                    continue
                for sample, ids in enumerate(answer["outputs"]):
                    yield self.renderer.complete(answer["key"], sample, lengths[answer["key"]], ids, decoding)
        finally:
            pool.shutdown(wait=False)

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.close()


class _Worker:
    """A process that runs ``vllm_worker.py``, on the GPUs that ``CUDA_VISIBLE_DEVICES=gpus`` names."""

    def __init__(self, settings: dict[str, Any], gpus: str | None) -> None:
        self.busy = True
        with tempfile.NamedTemporaryFile("wb", prefix="vllm-", suffix=".log", delete=False) as log:
            self.log = Path(log.name)
            self.process = subprocess.Popen(
                [str(vllm_python()), "-P", str(WORKER), json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                env=environment() | ({} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus}),
            )

    def wait(self) -> None:
        """Until the model is loaded; raises UserError when the worker ends."""
        self._read()
        self.busy = False

    def answer(self, job: dict[str, Any], give: Callable[[dict[str, Any]], None]) -> None:
        """Give every answer to a job; raises UserError when the worker ends."""
        assert self.process.stdin is not None
        self.busy = True
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._fail()
        while "done" not in (answer := self._read()):
            give(answer)
        self.busy = False

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            self._fail()
        message: dict[str, Any] = json.loads(line)
        return message

    def _fail(self) -> NoReturn:
        self.process.wait()
        lines = [line.strip() for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()]
        causes = [line for line in lines if "Error" in line] or lines[-1:] or ["no output"]
        kept = Path(shutil.move(self.log, self.log.with_suffix(".failed.log")))
        raise UserError(f"vLLM stopped with status {self.process.returncode}: {causes[-1][-300:]} (log: {kept})")

    def stop(self) -> None:
        """Ask the process to end; one that still loads or answers is killed."""
        if self.busy:
            self.process.kill()
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def close(self) -> None:
        """Wait until the process has ended."""
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.unlink(missing_ok=True)


def gpu_groups(settings: EngineSettings) -> list[str | None]:
    """``CUDA_VISIBLE_DEVICES`` of each worker; None where there is no GPU, and ``auto`` workers are one.

    Raises:
        UserError: a size out of range, or fewer GPUs than ``tensor_parallel_size`` x ``data_parallel_size``.
    """
    each, gpus = settings.tensor_parallel_size, gpu_count()
    asked = settings.data_parallel_size
    copies = max(1, gpus // max(1, each)) if asked == "auto" else asked
    if each < 1 or copies < 1 or not 0 < settings.gpu_memory_utilization <= 1:
        raise UserError(
            "tensor_parallel_size and data_parallel_size are 1 or more, gpu_memory_utilization is above 0 and at most 1"
        )
    if each * copies > gpus and (gpus or each > 1):
        raise UserError(
            f"tensor_parallel_size: {each} x data_parallel_size: {copies} needs {each * copies} GPUs, and there are {gpus}"
        )
    if not gpus:
        return [None] * copies
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    return [",".join(names[start : start + each]) for start in range(0, each * copies, each)]


def worker_settings(settings: EngineSettings, limit: int) -> dict[str, Any]:
    """What vLLM is opened with (``llm``), and the adapter's folder; ``limit`` as :class:`Renderer` has it."""
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
    if gpu:
        llm |= {key: getattr(settings, key) for key in ("tensor_parallel_size", "gpu_memory_utilization")}
    if settings.adapter_name_or_path is not None:
        lora = read_json(settings.adapter_name_or_path / "adapter_config.json")
        rank = max([int(lora["r"]), *map(int, (lora.get("rank_pattern") or {}).values())])
        llm |= {"enable_lora": True, "max_lora_rank": next((r for r in _RANKS if r >= rank), rank)}
    return {
        "llm": llm,
        "adapter": str(settings.adapter_name_or_path.resolve()) if settings.adapter_name_or_path else None,
    }


def _sampling(decoding: Decoding, end_ids: list[int]) -> dict[str, Any]:
    same = {key: getattr(decoding, key) for key in ("n", "temperature", "top_p", "seed")}
    return {
        **same,
        "stop": list(decoding.stop),
        "top_k": decoding.top_k or -1,
        "max_tokens": decoding.max_new_tokens,
        "stop_token_ids": end_ids,
    }


def environment() -> dict[str, str]:
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
