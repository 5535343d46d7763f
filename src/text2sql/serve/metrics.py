"""What Prometheus may ask: requests, their seconds, tokens, statements, and how busy the server is. No text of anybody."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counters of one server; several in a process do not share them."""

    def __init__(self, busy: Callable[[], float]) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter("text2sql_requests", "Requests", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "text2sql_request_seconds", "Seconds of a request", ["route"], buckets=_SECONDS, registry=registry
        )
        self._tokens = Counter("text2sql_tokens", "Tokens read and made", ["kind"], registry=registry)
        self._statements = Counter("text2sql_statements", "Statements run", ["outcome"], registry=registry)
        Gauge("text2sql_busy", "Questions at work or waiting", registry=registry).set_function(busy)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def tokens(self, prompt: int, completion: int) -> None:
        """A model answered."""
        self._tokens.labels("prompt").inc(prompt)
        self._tokens.labels("completion").inc(completion)

    def statement(self, outcome: str) -> None:
        """A statement was run: ``rows``, or the kind of its failure."""
        self._statements.labels(outcome).inc()

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
