"""The openai engine, against real HTTP servers: requests go round, failures are one line."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support.tiny_model import QUESTIONS, SCHEMA
from text2sql.errors import UserError
from text2sql.generate import Decoding, EngineSettings, Request, open_engine
from text2sql.prompts import build_messages


def questions(count):
    return [Request(f"q{i}", build_messages(f"{QUESTIONS[i % 6]} ({i})", SCHEMA)) for i in range(count)]


def answers(settings, requests, decoding):
    with open_engine(settings) as engine:
        return {(c.key, c.sample): c for c in engine.generate(requests, decoding)}


class Server:
    """A real HTTP server that answers in OpenAI's form with the length of the question, failing when told to."""

    def __init__(self, owner="vllm", fail_after=None, name="m"):
        outer = self
        self.bodies = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def reply(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                self.reply(
                    200, {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": owner}]}
                )

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                if fail_after is not None and len(outer.bodies) > fail_after:
                    return self.reply(404, {"error": {"message": "gone"}})
                asked = body["messages"][-1]["content"]
                if "broken" in asked:
                    return self.reply(404, {"error": {"message": "gone"}})
                if "too much" in asked:
                    return self.reply(400, {"error": {"message": "maximum context length is 10"}})
                choices = [
                    {
                        "index": i,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": f"SELECT {len(asked)}"},
                    }
                    for i in range(body["n"])
                ]
                usage = {"prompt_tokens": 5, "completion_tokens": 4 * body["n"], "total_tokens": 9}
                return self.reply(
                    200,
                    {
                        "id": "1",
                        "object": "chat.completion",
                        "created": 0,
                        "model": name,
                        "choices": choices,
                        "usage": usage,
                    },
                )

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_endpoint_engine_deals_out_and_falls_over():
    first, second = Server(), Server(fail_after=2)
    settings = EngineSettings(model_name_or_path="", engine="openai", base_urls=(first.url, second.url))
    requests = [*questions(10), Request("long", build_messages("too much", SCHEMA))]
    found = answers(settings, requests, Decoding(temperature=0.5, n=2, max_new_tokens=7, seed=9, stop=(";",)))
    assert len(found) == 22
    assert all(found[r.key, 1].text == f"SELECT {len(r.messages[-1]['content'])}" for r in requests[:10])
    assert found["long", 0].finish_reason == "prompt_too_long"
    assert len(second.bodies) >= 3
    body = first.bodies[0]
    assert {
        key: body[key] for key in ("temperature", "n", "max_tokens", "seed", "stop", "repetition_penalty", "top_k")
    } == {
        "temperature": 0.5,
        "n": 2,
        "max_tokens": 7,
        "seed": 9,
        "stop": [";"],
        "repetition_penalty": 1.0,
        "top_k": -1,
    }
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    with pytest.raises(UserError, match="has no model 'other'; it serves m"):
        open_engine(EngineSettings(model_name_or_path="other", engine="openai", base_urls=(first.url,)))


def test_plain_endpoints_get_no_extra_keys_and_errors_are_one_line():
    server = Server(owner="someone", fail_after=1)
    settings = EngineSettings(model_name_or_path="m", engine="openai", base_urls=(server.url,), batch_size=1)
    with pytest.raises(UserError, match="no server answered q1"):
        answers(settings, questions(3), Decoding())
    assert not {"top_k", "repetition_penalty", "chat_template_kwargs"} & set(server.bodies[0])


def test_a_request_without_an_answer_does_not_end_the_others():
    server = Server()
    settings = EngineSettings(model_name_or_path="m", engine="openai", base_urls=(server.url,), batch_size=1)
    asked = [Request(f"q{i}", build_messages("broken" if i == 0 else "fine", SCHEMA)) for i in range(4)]
    found = []
    with open_engine(settings) as engine, pytest.raises(UserError, match="no server answered q0"):
        found.extend(completion.key for completion in engine.generate(asked, Decoding()))
    assert sorted(found) == ["q1", "q2", "q3"]


def test_a_dead_server_is_given_up_soon():
    server = Server(fail_after=1)
    settings = EngineSettings(model_name_or_path="m", engine="openai", base_urls=(server.url,), batch_size=1)
    with pytest.raises(UserError, match="no server answered"):
        answers(settings, questions(400), Decoding())
    assert len(server.bodies) < 200
