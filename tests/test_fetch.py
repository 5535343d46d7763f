"""Downloads, from a server that speaks as the Hugging Face hub and ModelScope do: whole, broken off and resumed, damaged."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
COMMIT = "a" * 40
LARGE = bytes(n * n % 251 for n in range(1 << 20)) * 24
FILES = {"README.md": b"# Rows\n", "data/rows.json": LARGE}


class Hub:
    """One data set, ``me/rows``, of a small file and a large one; ``damaged`` and ``stop_after`` are the hub's bad days."""

    def __init__(self):
        self.ranges, self.damaged, self.stop_after = [], "", None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_HEAD(self):
                hub.answer(self, body=False)

            def do_GET(self):
                hub.answer(self, body=True)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request, body):
        if request.path.startswith("/api/datasets/me/rows"):
            return self.send(request, 200, json.dumps(self.info()).encode(), {"Content-Type": "application/json"})
        if request.path.startswith("/api/v1/datasets/me/rows/repo/tree"):
            return self.send(request, 200, json.dumps(self.tree()).encode(), {"Content-Type": "application/json"})
        found = re.match(r"/datasets/me/rows/resolve/[^/]+/(.*)", request.path)
        name = found[1] if found else ""
        if request.path.startswith("/api/v1/datasets/me/rows/repo?"):
            (name,) = parse_qs(urlsplit(request.path).query)["FilePath"]
        if name not in FILES:
            return self.send(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        data = FILES[name]
        if name == self.damaged:
            data = data[:-1] + b"?"
        headers = {"ETag": f'"{_hash(name)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if name == "data/rows.json":
            headers |= {"X-Linked-Etag": f'"{_hash(name)}"', "X-Linked-Size": str(len(data))}
        asked = re.match(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if asked and body:
            start = int(asked[1])
            self.ranges.append(start)
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data = data[start:]
        return self.send(request, 206 if asked and body else 200, data, headers, body)

    def send(self, request, status, data, headers, body=True):
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            request.send_header(name, value)
        request.end_headers()
        if not body:
            return
        if self.stop_after is not None and len(data) > self.stop_after:
            request.wfile.write(data[: self.stop_after])
            request.wfile.flush()
            time.sleep(30)
        request.wfile.write(data)

    def tree(self):
        """The files as ModelScope lists them."""
        files = [
            {"Path": name, "Name": Path(name).name, "Type": "blob", "Size": len(data), "Sha256": _sha256(data)}
            for name, data in FILES.items()
        ]
        return {"Code": 200, "Success": True, "Data": {"Files": files}}

    def info(self):
        small, large = (
            {"rfilename": name, "size": len(data), "blobId": _hash(name) if name == "README.md" else "b" * 40}
            for name, data in FILES.items()
        )
        large["lfs"] = {"sha256": _hash("data/rows.json"), "size": len(LARGE), "pointerSize": 130}
        return {
            "id": "me/rows",
            "sha": COMMIT,
            "private": False,
            "tags": [],
            "downloads": 0,
            "siblings": [small, large],
        }


def _hash(name):
    data = FILES[name]
    if name == "README.md":
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return _sha256(data)


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub():
    found = Hub()
    yield found
    found.server.shutdown()
    found.server.server_close()


def command(hub, home, where, *arguments):
    """The command that fetches from ``where`` (huggingface or modelscope), both of which are our server here."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MODELSCOPE_ENDPOINT": hub.url,
        "MODELSCOPE_CACHE": str(home / "cache"),
        "MODELSCOPE_HOME": str(home / "own"),
    }
    return {
        "args": [sys.executable, "-m", "text2sql.fetch", *map(str, arguments), where],
        "cwd": ROOT,
        "env": environment,
        "text": True,
    }


def fetch(*arguments):
    return subprocess.run(**command(*arguments), capture_output=True, check=False)


both_hubs = pytest.mark.parametrize("where", ["huggingface", "modelscope"])


@both_hubs
def test_a_download_that_was_killed_goes_on_where_it_stopped(hub, tmp_path, where):
    folder = tmp_path / "rows"
    hub.stop_after = 10 << 20
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(**command(hub, tmp_path, where, "dataset", "me/rows", folder), **quiet) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if any(part.stat().st_size >= 5 << 20 for part in folder.rglob("*.incomplete*")):
                break
            time.sleep(0.05)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "data/rows.json").exists()
    hub.stop_after, hub.ranges = None, []
    result = fetch(hub, tmp_path, where, "dataset", "me/rows", folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "data/rows.json").read_bytes() == LARGE
    assert max(hub.ranges) >= 5 << 20, "what had arrived is not asked for again"


@pytest.mark.parametrize("name", list(FILES))
def test_a_damaged_file_is_removed_and_fetched_again(hub, tmp_path, name):
    folder = tmp_path / "rows"
    hub.damaged = name
    result = fetch(hub, tmp_path, "huggingface", "dataset", "me/rows", folder)
    assert result.returncode == 2
    assert (
        result.stderr.strip().splitlines()[-1]
        == f"error: {folder / name}: arrived damaged (checksum) and was removed; start again"
    )
    assert not (folder / name).exists()
    hub.damaged = ""
    assert fetch(hub, tmp_path, "huggingface", "dataset", "me/rows", folder).returncode == 0
    assert (folder / name).read_bytes() == FILES[name]


def test_a_damaged_file_of_modelscope_is_never_left_as_if_it_were_whole(hub, tmp_path):
    folder = tmp_path / "rows"
    hub.damaged = "data/rows.json"
    result = fetch(hub, tmp_path, "modelscope", "dataset", "me/rows", folder)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith("error: me/rows could not be fetched from modelscope")
    assert "Traceback" not in result.stderr
    assert not (folder / "data/rows.json").exists()
    hub.damaged = ""
    assert fetch(hub, tmp_path, "modelscope", "dataset", "me/rows", folder).returncode == 0
    assert (folder / "data/rows.json").read_bytes() == LARGE


@both_hubs
def test_without_a_server_or_a_repository_it_says_what_to_do(hub, tmp_path, where):
    for name in ("me/nothing", "me/rows"):
        if name == "me/rows":
            hub.server.shutdown()
            hub.server.server_close()
        result = fetch(hub, tmp_path, where, "dataset", name, tmp_path / "rows")
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
        last = result.stderr.strip().splitlines()[-1]
        assert last.startswith(f"error: {name} could not be fetched from {where}")
        assert f"copy the files to {tmp_path / 'rows'}" in last
        assert not (tmp_path / "rows").exists()


def test_another_kind_is_refused_in_one_line(hub, tmp_path):
    result = fetch(hub, tmp_path, "huggingface", "weights", "me/rows", tmp_path / "rows")
    assert result.returncode == 2
    assert result.stderr.startswith("error: Invalid value for 'kind'") and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "rows").exists()
