"""Too many questions, late ones, a model that is down, and the end of the server."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.judge_server import Say, serve
from text2sql.generate import Completion, Engine, EngineSettings, open_engine
from text2sql.serve.options import Limits

ASK = {"question": "how many\nkeepers are there", "database": "zoo"}


class Slow(Engine):
    """Says a word every tenth of a second, for as long as ``seconds``; counts how often it was stopped early."""

    name = "slow"

    def __init__(self, seconds: float, concurrent: bool = False) -> None:
        self.concurrent = concurrent
        self.seconds, self.stopped, self.working = seconds, 0, 0

    def generate(self, requests, decoding) -> Iterator[Completion]:
        time.sleep(self.seconds)
        yield from (Completion(requests[0].key, i, "SELECT 1", "stop", 1, 1) for i in range(decoding.n))

    def stream(self, request, decoding):
        until = time.monotonic() + self.seconds
        self.working += 1
        try:
            while time.monotonic() < until:
                time.sleep(0.1)
                yield " "
            return Completion(request.key, 0, "SELECT 1", "stop", 1, 1)
        except GeneratorExit:
            self.stopped += 1
            raise
        finally:
            self.working -= 1

    def close(self) -> None:
        """Nothing is held."""


def wait_for(condition) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def test_more_than_may_wait_are_told_to_come_again(serving) -> None:
    with (
        serving(Slow(1.0, concurrent=True), limits=Limits(concurrency=2, queue=2)) as client,
        ThreadPoolExecutor(12) as pool,
    ):
        replies = list(pool.map(lambda _: client.post("/v1/text2sql", json=ASK), range(12)))
        statuses = sorted(reply.status_code for reply in replies)
        assert statuses.count(200) >= 4 and set(statuses) == {200, 429}
        busy = next(reply for reply in replies if reply.status_code == 429)
        assert int(busy.headers["retry-after"]) > 0 and busy.json()["error"]["type"] == "too_many_requests"
        assert client.post("/v1/text2sql", json=ASK).status_code == 200, "it recovers"


def test_a_late_answer_frees_its_thread(serving) -> None:
    engine = Slow(30.0)
    with serving(engine, limits=Limits(concurrency=1, timeout=0.5)) as client:
        reply = client.post("/v1/text2sql", json=ASK)
        assert (reply.status_code, reply.json()["error"]["type"]) == (504, "timeout")
        wait_for(lambda: engine.working == 0)
        assert engine.stopped == 1
        engine.seconds = 0.1
        assert client.post("/v1/text2sql", json=ASK).status_code == 200


def test_a_reader_who_leaves_stops_the_model(serving) -> None:
    engine = Slow(30.0)
    with serving(engine) as client:
        with client.stream("POST", "/v1/text2sql", json={**ASK, "stream": True}) as reply:
            next(reply.iter_text())
            assert engine.working == 1
        wait_for(lambda: engine.working == 0)
        assert engine.stopped == 1


def test_the_tiny_model_stops_when_it_is_told(engine, serving) -> None:
    with serving(limits=Limits(timeout=0.01)) as client:
        assert client.post("/v1/text2sql", json=ASK).status_code == 504
    with serving() as client:
        assert client.post("/v1/text2sql", json=ASK).status_code == 200


def test_requests_at_work_are_finished_at_the_end(serving) -> None:
    got = []
    with serving(Slow(1.0)) as client:
        thread = threading.Thread(target=lambda: got.append(client.post("/v1/text2sql", json=ASK).status_code))
        thread.start()
        time.sleep(0.4)
    thread.join(10)
    assert got == [200]


def test_a_model_that_is_down(serving) -> None:
    with serve(lambda question, number: Say("SELECT 1"), ["how many"]) as server:
        settings = EngineSettings("", engine="openai", base_urls=(server.url,))
        engine = open_engine(settings, 5)
    with engine, serving(engine) as client:
        reply = client.post("/v1/text2sql", json=ASK)
        assert reply.status_code == 503 and "(connection)" in reply.json()["error"]["message"]
        assert server.url not in reply.text, "what stands behind is nobody's business"
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        with client.stream("POST", "/v1/text2sql", json={**ASK, "stream": True}) as streamed:
            assert streamed.status_code == 503


@pytest.mark.parametrize("status", [429, 500])
def test_a_model_that_fails(serving, status: int) -> None:
    with serve(lambda question, number: Say("no", status=status), ["how many"]) as server:
        settings = EngineSettings("", engine="openai", base_urls=(server.url,))
        with open_engine(settings, 5) as engine, serving(engine) as client:
            reply = client.post("/v1/text2sql", json=ASK)
            assert reply.status_code == 503 and f"status_{status}" in reply.text
