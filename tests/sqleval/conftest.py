"""A small shop database for every test, and the folder of official verdicts where there is one."""

import os
from pathlib import Path

import pytest

from support.sqleval_files import make_database


@pytest.fixture()
def root(tmp_path: Path) -> Path:
    """A folder of databases that holds ``shop``."""
    make_database(tmp_path / "database" / "shop" / "shop.sqlite")
    return tmp_path / "database"


@pytest.fixture()
def shop(root: Path) -> Path:
    """The shop's database file."""
    return root / "shop" / "shop.sqlite"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of the test's own."""
    monkeypatch.setenv("SQLEVAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and official verdicts; tests that need it skip where it is absent."""
    found = Path(os.environ.get("TEXT2SQL_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    if not (found / "verdicts").is_dir():
        pytest.skip(f"no official verdicts in {found}; set TEXT2SQL_SHARED to the folder that holds them")
    return found
