"""The OpenAPI document against the server: schemathesis looks for answers that it does not describe, and for 5xx."""

import logging
from dataclasses import replace

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import response_schema_conformance, status_code_conformance

from text2sql.generate import Completion, Engine
from text2sql.serve.answer import Answerer
from text2sql.serve.api import create_app
from text2sql.serve.databases import Databases

logging.getLogger("httpx").setLevel(logging.WARNING)


class Answering(Engine):
    """Answers at once, so that many requests can be tried; what it says is broken SQL now and then."""

    name, concurrent = "answering", True

    def generate(self, requests, decoding):
        for request in requests:
            for sample in range(decoding.n):
                text = ("SELECT count(*) FROM keepers", "<sql>SELECT", "")[len(str(request.messages)) % 3]
                yield Completion(request.key, sample, text, "stop", 10, 5)

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture(scope="module")
def api(options):
    options = replace(options, allowed_hosts=["testserver"])
    with Databases(options) as databases, Answerer(options, databases, Answering()) as answerer:
        app = create_app(options, answerer)
        yield schemathesis.openapi.from_asgi("/openapi.json", app)


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(
    max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_no_request_breaks_the_server(case) -> None:
    reply = case.call()
    assert reply.status_code < 500, reply.text
    case.validate_response(reply, checks=[status_code_conformance, response_schema_conformance])
