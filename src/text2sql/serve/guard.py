"""What every request passes: the host's name, the key, the body's size and pace, headers for browsers, a line in the log.

Plain ASGI around the application, so that nothing is parsed before its size is known and answers that stream are not held
back.
"""

import asyncio
import hmac
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.serve.error import ServeError
from text2sql.serve.metrics import Metrics
from text2sql.serve.options import ServeOptions

logger = logging.getLogger("text2sql.serve")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN = ("/", "/healthz", "/readyz", "/openapi.json")
_STATIC = "/static/"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def read_keys(path: Path | None) -> tuple[bytes, ...]:
    """The keys of a file, one a line; none without a file.

    Raises:
        UserError: no such file, or no key in it.
    """
    if path is None:
        return ()
    if not path.is_file():
        raise UserError(f"api_keys: {path}: no such file; write one key a line into it")
    keys = tuple(line.strip() for line in path.read_bytes().splitlines() if line.strip())
    if not keys:
        raise UserError(f"api_keys: {path}: no key in it; write one key a line")
    return keys


class Guard:
    """ASGI middleware; see the module."""

    def __init__(self, app: App, options: ServeOptions, metrics: Metrics) -> None:
        self.app, self.options, self.metrics = app, options, metrics
        self.keys = read_keys(options.api_keys)
        local = {"localhost", "127.0.0.1", "::1", options.host}
        self.hosts = set(options.allowed_hosts) or (set() if self.keys else local)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, name = time.monotonic(), 500, uuid.uuid4().hex[:16]
        notes: dict[str, Any] = {}
        scope.setdefault("state", {})["notes"] = notes

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *_headers(scope["path"], name)]}
            await send(message)

        try:
            headers = {key.lower(): value for key, value in scope["headers"]}
            self._check(scope, headers)
            body = await self._body(headers, receive) if scope["method"] == "POST" else None
            await self.app(scope, receive if body is None else _replayed(body, receive), answered)
        except ServeError as problem:
            await _refuse(problem, answered)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            seconds = time.monotonic() - started
            self.metrics.request(route, status, seconds)
            if route != "other" or status >= 400:
                self._log(name, scope["method"], route, status, seconds, notes)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        if self.hosts and _host(headers.get(b"host", b"")) not in self.hosts:
            raise ServeError(421, "unknown_host", "this server does not go by that name; see allowed_hosts")
        path = scope["path"]
        if not self.keys or path in _OPEN or path.startswith(_STATIC):
            return
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        given = token.strip() if kind.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        if not sum(hmac.compare_digest(given, key) for key in self.keys):  # all are compared: time tells nothing
            raise ServeError(401, "wrong_key", "a key is needed: Authorization: Bearer KEY")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        most, seconds = self.options.limits.body_bytes, self.options.limits.send_timeout
        too_large = ServeError(413, "too_large", f"a request has at most {most} bytes")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    message = await receive()
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_large
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return bytes(body)
        except TimeoutError as error:
            raise ServeError(408, "too_slow", f"the request was not sent within {seconds:g} seconds") from error

    def _log(self, name: str, method: str, route: str, status: int, seconds: float, notes: dict[str, Any]) -> None:
        line = {"request": name, "method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
        logger.info("%s", json.dumps(line | notes, ensure_ascii=False))


def _host(value: bytes) -> str:
    """The name in a Host header, without its port."""
    text = value.decode("latin-1").lower()
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]


def _headers(path: str, name: str) -> Iterable[tuple[bytes, bytes]]:
    cache = "max-age=3600" if path.startswith(_STATIC + "vendor/") else "no-store"
    for key, value in {**_HEADERS, "cache-control": cache, "x-request-id": name}.items():
        yield key.encode(), value.encode()


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(problem: ServeError, send: Send) -> None:
    body = json.dumps(problem.body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
