"""What clients may try: hostile SQL, names, bodies, hosts and keys. None of it works, and none of it is a 5xx."""

import json
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import httpx
import pytest

from support.hostile import hostile_statements
from text2sql.serve.options import Limits

ASK = {"question": "how many keepers are there", "database": "zoo"}
INJECTIONS = [
    "' OR 1=1 --",
    "zoo'; DROP TABLE animals; --",
    '"; ATTACH DATABASE "/tmp/x" AS x; --',
    "x\x00y",
    "${7*7}{{7*7}}",
]
PATHS = [
    "../zoo",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "zoo/../zoo",
    "zoo.sqlite",
    "file:zoo?mode=rwc",
    "zoo\x00",
    "ZOO",
    "",
    ".",
]


def digest(files) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in files.items()}


@pytest.mark.parametrize("every", [20, pytest.param(1, marks=pytest.mark.slow)])
def test_a_thousand_hostile_statements(serving, files, tmp_path, every: int) -> None:
    before, statements = digest(files), hostile_statements(str(tmp_path))
    forms = ("{}", "SELECT * FROM ({})", "SELECT 1; {}", "/* x */ {} -- x")
    corpus = [form.replace("{}", sql) for sql in statements for form in forms]
    assert len(corpus) >= 1000
    with serving(limits=Limits(sql_timeout=0.1, queue=1000)) as client, ThreadPoolExecutor(4) as pool:

        def run(sql: str) -> tuple[int, str]:
            body = json.dumps({"database": "zoo", "sql": sql})  # escaped: some statements are no valid Unicode
            reply = client.post("/v1/sql", content=body, headers={"Content-Type": "application/json"})
            return reply.status_code, sql

        found = list(pool.map(run, corpus[::every]))
        assert [pair for pair in found if pair[0] not in (200, 413, 422)] == []
        assert client.post("/v1/sql", json={"database": "zoo", "sql": "SELECT 1"}).json()["rows"] == [[1]]
    assert digest(files) == before
    assert not list(tmp_path.iterdir()), "nothing was written"


@pytest.mark.parametrize("text", INJECTIONS)
def test_injection_through_every_field(client, files, text: str) -> None:
    before = digest(files)
    turn = {"question": text, "sql": text}
    bodies = [
        {**ASK, "question": text},
        {**ASK, "database": text},
        {**ASK, "evidence": text, "history": [turn], "references": [turn], "execute": True},
        {"question": "a", "schema": text},
        {"question": "a", "schema": f"CREATE TABLE t (a); {text}", "n": 2},
    ]
    for body in bodies:
        assert client.post("/v1/text2sql", json=body).status_code in (200, 404, 422)
    chat = {"model": text, "messages": [{"role": "user", "content": text}]}
    assert client.post("/v1/chat/completions", json=chat).status_code == 404
    assert digest(files) == before


@pytest.mark.parametrize("name", PATHS)
def test_databases_are_names_and_not_paths(client, name: str) -> None:
    for path, body in (("/v1/text2sql", {**ASK, "database": name}), ("/v1/sql", {"database": name, "sql": "SELECT 1"})):
        reply = client.post(path, json=body)
        assert reply.status_code == 404
        assert reply.json()["error"]["message"].endswith("there are odd, zoo")
    if name not in ("", ".", "zoo/../zoo", "zoo\x00"):  # the client itself tidies or refuses these
        assert client.get(f"/v1/databases/{name}").status_code == 404


@pytest.mark.parametrize(
    "path", ["/static/../api.py", "/static/..%2fapi.py", "/static/%2e%2e/options.py", "/static//etc/passwd"]
)
def test_the_pages_folder_is_all_that_is_served(client, path: str) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port)) as raw:  # clients tidy paths
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert b" 404 " in raw.makefile("rb").readline()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"\xff\xfe", (400, 422)),
        (b"[" * 100_000, (400, 422)),
        (b'{"question": ' + b"9" * 6000 + b"}", (400, 422)),
        (b'{"question": "\\ud800", "database": "zoo"}', 422),
        (b'{"question": "a", "\\ud800": 1}', 422),
        (b'{"question": 1, "database": "zoo"}', 422),
        (b'{"question": "a", "database": "zoo", "n": 1e400}', 422),
        (b'{"question": "a", "database": "zoo", "path": "/etc"}', 422),
        (b'{"question": "  ", "database": "zoo"}', 422),
        (b'{"question": "a"}', 422),
        (b"x" * ((1 << 20) + 1), 413),
    ],
)
def test_malformed_and_oversized_bodies(client, body: bytes, status) -> None:
    reply = client.post("/v1/text2sql", content=body, headers={"content-type": "application/json"})
    assert reply.status_code in ([status] if isinstance(status, int) else status), reply.text
    assert set(reply.json()["error"]) == {"type", "message"}
    assert len(reply.content) < 1000


def test_a_chunked_body_is_measured_as_it_comes(client) -> None:
    def chunks():
        for _ in range(100):
            yield b" " * 65536

    with suppress(httpx.WriteError, httpx.RemoteProtocolError):  # it may hang up before everything is sent
        assert client.post("/v1/sql", content=chunks(), headers={"content-type": "application/json"}).status_code == 413


def test_limits_name_themselves(client) -> None:
    for body, words in (
        ({**ASK, "question": "x" * 4001}, "4000 characters"),
        ({"question": "a", "schema": "x" * 100_001}, "100000 characters"),
        (
            {"question": "a", "schema": "CREATE TABLE t (" + ", ".join(f"column_{i} TEXT" for i in range(2000)) + ");"},
            "4096 tokens",
        ),
        ({**ASK, "n": 9}, "n is 1 to 8"),
    ):
        reply = client.post("/v1/text2sql", json=body)
        assert reply.status_code == 422 and words in reply.json()["error"]["message"], reply.text


def test_keys(serving, tmp_path) -> None:
    (tmp_path / "keys").write_text("first-key\n\nsecond-key\n")
    with serving(api_keys=tmp_path / "keys") as client:
        for headers in (
            {},
            {"authorization": "Bearer no"},
            {"authorization": "Bearer"},
            {"authorization": "first-key"},
            {"x-api-key": ""},
        ):
            for path in ("/v1/databases", "/metrics", "/v1/models"):
                reply = client.get(path, headers=headers)
                assert reply.status_code == 401 and "zoo" not in reply.text
            assert client.post("/v1/sql", json={}, headers=headers).status_code == 401
        for headers in ({"authorization": "Bearer first-key"}, {"x-api-key": "second-key"}):
            assert client.get("/v1/databases", headers=headers).status_code == 200
        for path in ("/", "/healthz", "/readyz", "/static/app.js", "/openapi.json"):
            assert client.get(path).status_code == 200


def test_other_sites_cannot_use_a_local_server(client) -> None:
    assert client.get("/v1/databases", headers={"host": "evil.example"}).status_code == 421
    plain = client.post(
        "/v1/sql", content=b'{"database": "zoo", "sql": "SELECT 1"}', headers={"content-type": "text/plain"}
    )
    assert plain.status_code in (415, 422), "a form of another site can send this without asking"
    assert (
        "access-control-allow-origin"
        not in client.get("/v1/databases", headers={"origin": "https://evil.example"}).headers
    )


def test_browsers_are_told_to_be_strict(client) -> None:
    for path in ("/", "/static/app.js", "/v1/databases", "/none"):
        headers = client.get(path).headers
        assert (
            "script-src 'self'" in headers["content-security-policy"]
            and "unsafe" not in headers["content-security-policy"]
        )
        assert headers["x-content-type-options"] == "nosniff"
    page = client.get("/").text
    assert "http://" not in page and "https://" not in page, "nothing comes from elsewhere"
    assert "<script>" not in page and " onclick" not in page


def test_slow_clients_hold_nobody_up(serving) -> None:
    with serving(limits=Limits(send_timeout=1.0)) as client:
        address = (client.base_url.host, client.base_url.port)
        slow = [socket.create_connection(address) for _ in range(50)]
        for number, raw in enumerate(slow):
            raw.sendall(
                b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\n" + b"Content-Length: 100\r\n\r\n{" * (number % 2)
            )
        assert client.post("/v1/sql", json={"database": "zoo", "sql": "SELECT 1"}).status_code == 200
        slow[1].settimeout(10)
        assert b" 408 " in slow[1].makefile("rb").readline()
        for raw in slow:
            raw.close()


def test_logs_tell_no_questions(serving, caplog) -> None:
    caplog.set_level("INFO", logger="text2sql.serve")
    with serving() as silent:  # what it says is said when it has ended
        silent.post("/v1/sql", json={"database": "zoo", "sql": "SELECT 'secret-word'"})
    assert "/v1/sql" in caplog.text and "secret-word" not in caplog.text
    with serving(log_text=True) as talking:
        talking.post("/v1/sql", json={"database": "zoo", "sql": "SELECT 'secret-word'"})
    assert "secret-word" in caplog.text


def test_a_lost_database_is_said(serving, tmp_path) -> None:
    file = tmp_path / "gone.sqlite"
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE t (a)")
    with serving(databases={"gone": file}, questions={}) as client:
        file.unlink()
        for path, body in (
            ("/v1/sql", {"database": "gone", "sql": "SELECT 1"}),
            ("/v1/text2sql", {**ASK, "database": "gone"}),
        ):
            reply = client.post(path, json=body)
            assert (reply.status_code, reply.json()["error"]["type"]) == (503, "database_unavailable")
