"""The OpenAPI document against the server: schemathesis looks for answers that it does not describe, and for 5xx."""

from dataclasses import replace

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error, response_schema_conformance, status_code_conformance

from text2sql.generate import Completion, Engine
from text2sql.serve.answer import Answerer
from text2sql.serve.api import create_app
from text2sql.serve.databases import Databases

CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]
EXAMPLES = 30


class Answering(Engine):
    """Answers at once, so that many requests can be tried; now and then with broken SQL, or with nothing."""

    name, concurrent = "answering", True

    def generate(self, requests, decoding):
        for request in requests:
            for sample in range(decoding.n):
                text = ("SELECT count(*) FROM keepers", "<sql>SELECT", "")[len(str(request.messages)) % 3]
                yield Completion(request.key, sample, text, "stop", 10, 5)

    def close(self) -> None:
        """Nothing is held."""


def test_no_request_breaks_the_server(options) -> None:
    options = replace(options, allowed_hosts=["testserver"])
    with Databases(options) as databases, Answerer(options, databases, Answering()) as answerer:
        document = schemathesis.openapi.from_asgi("/openapi.json", create_app(options, answerer))
        paths = {found.ok().path for found in document.get_all_operations()}
        assert {"/v1/text2sql", "/v1/sql", "/v1/chat/completions", "/v1/databases/{name}", "/readyz"} <= paths
        for found in document.get_all_operations():
            try_requests(found.ok())


def try_requests(operation) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def one(case) -> None:
        case.call_and_validate(checks=CHECKS)

    one()
