"""What the HTTP API adds to a question, against asking the model's server directly.

    python benchmarks/api.py [--clients 16] [--requests 800] [--minutes 0] [--server http://localhost:8000/v1] [--ledger]

Clients ask one question after another, in turns of a hundred: directly (the same messages as the API sends, to the
model's server) and through POST /v1/text2sql. The overhead is the difference of the medians, and of the 95th percentiles.
Without ``--server`` the model's server is a stand-in in a process of its own, which takes half to one and a half times
``--model-ms`` milliseconds for an answer; a server that is given, such as ``vllm serve``, is real.

``--minutes`` goes on at a steady load afterwards and reports errors and growth of the API's memory. The API runs in a process
of its own; its CPU milliseconds a question tell more than wall time where other programs share the machine.
"""

import asyncio
import json
import logging
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import yaml
from frame import ToLedger, record, run, say, show

from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.generate import Completion, Decoding, Engine, Request
from text2sql.recipe import load_recipe, options_from
from text2sql.serve.answer import Answerer
from text2sql.serve.databases import Databases
from text2sql.serve.options import ServeOptions
from text2sql.serve.question import Question

logging.getLogger("httpx").setLevel(logging.WARNING)
RECIPE = Path("recipes/tiny/serve.yaml")
QUESTION = {"question": "how many keepers are there", "database": "zoo_animals"}
ANSWER = "SELECT count(*) FROM keepers"
TURN = 100
Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


def main(
    clients: int = 16,
    requests: int = 800,
    minutes: float = 0.0,
    server: Annotated[str, typer.Option(help="An OpenAI-compatible server that runs already.")] = "",
    model_ms: Annotated[int, typer.Option(help="Milliseconds that the stand-in takes for an answer.")] = 250,
    output: Path = Path("outputs/bench/api"),
    ledger: ToLedger = False,
) -> None:
    """Measure, print, and append to the ledger if asked to."""
    output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        behind = server or stack.enter_context(_stand_in(model_ms))
        model = httpx.get(f"{behind}/models").json()["data"][0]["id"]
        api, process = stack.enter_context(_api(behind, model, output))
        payload = _direct_payload(model)
        direct: Ask = lambda client: client.post(f"{behind}/chat/completions", json=payload)  # noqa: E731
        through: Ask = lambda client: client.post(f"{api}/v1/text2sql", json=QUESTION)  # noqa: E731
        asyncio.run(_rounds([direct, through], clients, TURN))  # warm
        before = _cpu_seconds(process)
        times = asyncio.run(_rounds([direct, through], clients, requests))
        cpu_ms = (_cpu_seconds(process) - before) / len(times[1]) * 1000
        metrics = _metrics(times, cpu_ms)
        _print(metrics, clients)
        if minutes:
            metrics |= asyncio.run(_steady(through, clients, minutes, process))
            say(
                f"{minutes:g} minutes: {metrics['steady_requests']:.0f} requests, {metrics['steady_errors']:.0f} errors, "
                f"memory grew by {metrics['memory_growth']:.1%}"
            )
    if ledger:
        kind = f"against {'a running server' if server else f'a stand-in of {model_ms} ms'}, {clients} clients"
        record("bench.api", metrics, split="toy", n=requests, data_hash=digest(RECIPE), protocol=kind)


def _metrics(times: list[list[float]], cpu_ms: float) -> dict[str, float]:
    found: dict[str, float] = {"cpu_ms": cpu_ms}
    for name, values in zip(("direct", "api"), times, strict=True):
        cuts = statistics.quantiles(values, n=20)
        found |= {f"{name}_p50_ms": statistics.median(values) * 1000, f"{name}_p95_ms": cuts[18] * 1000}
    for part in ("p50", "p95"):
        found[f"overhead_{part}_ms"] = found[f"api_{part}_ms"] - found[f"direct_{part}_ms"]
    return found


def _print(found: dict[str, float], clients: int) -> None:
    rows = [
        [name, *(f"{found[f'{name}_{part}_ms']:.1f}" for part in ("p50", "p95"))]
        for name in ("direct", "api", "overhead")
    ]
    show(f"Milliseconds a question at {clients} clients; {found['cpu_ms']:.1f} CPU ms of the API", ("p50", "p95"), rows)


async def _rounds(ways: list[Ask], clients: int, requests: int) -> list[list[float]]:
    """Seconds of each request by each way, in turns, so that all ways meet the same machine."""
    times: list[list[float]] = [[] for _ in ways]
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:
        for start in range(0, requests, TURN):
            for way, found in zip(ways, times, strict=True):
                left = iter(range(min(TURN, requests - start)))
                await asyncio.gather(*(_client(client, way, left, found) for _ in range(clients)))
    return times


async def _client(client: httpx.AsyncClient, way: Ask, left: Iterator[int], found: list[float]) -> None:
    for _ in left:
        began = time.perf_counter()
        reply = await way(client)
        found.append(time.perf_counter() - began)
        if reply.status_code != httpx.codes.OK:
            raise UserError(f"an answer of status {reply.status_code}: {reply.text[:200]}")


async def _steady(way: Ask, clients: int, minutes: float, process: subprocess.Popen[bytes]) -> dict[str, float]:
    count, errors, until = 0, 0, time.monotonic() + 60 * minutes
    memory = []

    async def one(client: httpx.AsyncClient) -> None:
        nonlocal count, errors
        while time.monotonic() < until:
            try:
                errors += (await way(client)).status_code != httpx.codes.OK
            except httpx.HTTPError:
                errors += 1
            count += 1

    async def watch() -> None:
        while time.monotonic() < until:
            await asyncio.sleep(5)
            memory.append(_resident(process))

    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        await asyncio.gather(watch(), *(one(client) for _ in range(clients)))
    warm = memory[len(memory) // 10]
    return {
        "steady_minutes": minutes,
        "steady_requests": count,
        "steady_errors": errors,
        "memory_growth": memory[-1] / warm - 1,
    }


class _Silent(Engine):
    """Is never asked."""

    name = "silent"

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        return iter(())

    def close(self) -> None:
        """Nothing is held."""


def _direct_payload(model: str) -> dict[str, Any]:
    """What the API itself sends for the question."""
    options = options_from(ServeOptions, load_recipe(RECIPE, []), str(RECIPE))
    with Databases(options) as databases, Answerer(options, databases, _Silent()) as answerer:
        messages = answerer.messages(Question(QUESTION["question"], QUESTION["database"]))
    return {"model": model, "messages": messages, "temperature": 0.0, "max_tokens": options.max_new_tokens}


@contextmanager
def _api(behind: str, model: str, output: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The API in a process of its own, in front of a server; yields its address."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    limits = recipe["limits"] | {"concurrency": 64, "queue": 64}
    recipe |= {"engine": "openai", "base_urls": [behind], "model_name_or_path": model, "port": 0, "limits": limits}
    path = output / "serve.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    with (output / "serve.log").open("wb") as log:
        command = [sys.executable, "-m", "text2sql", "serve", str(path)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            if "ready: " not in line:
                raise UserError(f"the API did not start; see {output / 'serve.log'}")
            yield line.split()[1], process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@contextmanager
def _stand_in(milliseconds: int) -> Iterator[str]:
    """An OpenAI-compatible server of a fixed speed, in a process of its own."""
    command = [sys.executable, __file__, "stand-in", str(milliseconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


async def _stand(milliseconds: int) -> None:
    models = {"object": "list", "data": [{"id": "stand-in", "object": "model", "created": 0, "owned_by": "vllm"}]}
    choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 200, "completion_tokens": 8, "total_tokens": 208}
    chat = {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "stand-in",
        "choices": [choice],
        "usage": usage,
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = head.partition("content-length:")[2].split("\r\n")[0].strip()
                await reader.readexactly(int(length or 0))
                is_chat = head.startswith("post")
                await asyncio.sleep(milliseconds / 1000 * is_chat * random.uniform(0.5, 1.5))
                body = json.dumps(chat if is_chat else models).encode()
                kind = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                writer.write(f"{kind}content-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    say(str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


def _cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(process: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    if sys.argv[1:2] == ["stand-in"]:
        asyncio.run(_stand(int(sys.argv[2])))
    else:
        run(main, __doc__)
