"""A real server on a free port of this machine: the tiny model over databases made for the tests."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import uvicorn

from support.hostile import MARKUP as XSS
from text2sql.generate import Engine, open_engine
from text2sql.serve.answer import Answerer
from text2sql.serve.api import create_app
from text2sql.serve.databases import Databases
from text2sql.serve.options import ServeOptions
from text2sql.toy import build_database, load_specs

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models/tiny-base"
Serving = Callable[..., "contextmanager[httpx.Client]"]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A toy database, and one whose names and cells are hostile to pages."""
    folder = tmp_path_factory.mktemp("serve")
    spec = next(spec for spec in load_specs(ROOT / "data/toy") if spec.db_id == "zoo_animals")
    build_database(spec, folder / "zoo.sqlite", 42)
    with closing(sqlite3.connect(folder / "odd.sqlite")) as db:
        db.execute(f'CREATE TABLE "{XSS}" (id INTEGER PRIMARY KEY, "<b>name</b>" TEXT, value REAL)')
        rows = [(XSS, 1.5), ("</script><script>alert(2)</script>", 2.5), (None, None), ("=1+1", float("inf"))]
        db.executemany(f'INSERT INTO "{XSS}" ("<b>name</b>", value) VALUES (?, ?)', rows)
        db.commit()
    return {"zoo": folder / "zoo.sqlite", "odd": folder / "odd.sqlite"}


@pytest.fixture(scope="session")
def options(files: dict[str, Path]) -> ServeOptions:
    return ServeOptions(
        model_name_or_path=str(MODEL),
        engine="transformers",
        databases=files,
        questions={"zoo": ["how many keepers are there"]},
        max_new_tokens=64,
    )


@pytest.fixture(scope="session")
def engine(options: ServeOptions) -> Iterator[Engine]:
    with open_engine(options, options.limits.timeout) as opened:
        yield opened


@contextmanager
def running(options: ServeOptions, engine: Engine) -> Iterator[httpx.Client]:
    """A client of a server with these options and this engine, which is left open."""
    with Databases(options) as databases, Answerer(options, databases, engine) as answerer:
        config = uvicorn.Config(create_app(options, answerer), port=0, log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
            server.should_exit = True
            thread.join(30)


@pytest.fixture
def serving(options: ServeOptions, engine: Engine) -> Serving:
    """Call it for a server of one's own: ``serving(engine, key=value)``."""

    def start(own: Engine | None = None, **changes):
        return running(replace(options, **changes), own or engine)

    return start


@pytest.fixture(scope="session")
def client(options: ServeOptions, engine: Engine) -> Iterator[httpx.Client]:
    """The server that most tests ask."""
    with running(options, engine) as found:
        yield found
