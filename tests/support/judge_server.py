"""An OpenAI-compatible server that answers by a script: a judge's replies, good and bad, and failing connections."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD = '{"sql": 5, "reasoning": 4, "format": 3, "educational": 2, "comment": "fine"}'


@dataclass(frozen=True)
class Say:
    """One answer: ``text`` as a chat, or ``body`` as it stands; after ``wait`` seconds."""

    text: str = ""
    status: int = 200
    body: str | None = None
    kind: str = "application/json"
    wait: float = 0.0
    finish: str = "stop"


@dataclass
class Server:
    """Where it listens, and every chat it was sent, by question."""

    url: str
    chats: dict[str, list[list[dict[str, str]]]] = field(default_factory=lambda: defaultdict(list))


@contextmanager
def serve(script: Callable[[str, int], Say], questions: list[str]) -> Iterator[Server]:
    """A server that answers the n-th request about a question with ``script(question, n)``."""
    lock, server = threading.Lock(), Server("")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            model = {"id": "wise", "object": "model", "created": 0, "owned_by": "us"}
            self._send(Say(body=json.dumps({"object": "list", "data": [model]})))

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert sent["model"] == "wise"
            about = next(q for q in questions if q in sent["messages"][1]["content"])
            with lock:
                server.chats[about].append(sent["messages"])
                number = len(server.chats[about]) - 1
            self._send(script(about, number), sent.get("n", 1))

        def _send(self, say: Say, n: int = 1) -> None:
            time.sleep(say.wait)
            message = {"role": "assistant", "content": say.text}
            chat = {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": "wise",
                "choices": [{"index": i, "message": message, "finish_reason": say.finish} for i in range(n)],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
            data = (json.dumps(chat) if say.body is None else say.body).encode()
            try:
                self.send_response(say.status)
                self.send_header("Content-Type", say.kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # the client has hung up
                pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
