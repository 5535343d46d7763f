"""Values are found in the forms that people write them in, whatever the database holds beside them."""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from text2sql.errors import UserError
from text2sql.values.index import Index, open_index, words_of
from text2sql.values.match import StoredValue, match, render, tokens

ROWS = [
    (1, "Bon Marché", "France", "F", "NorthCarolina"),
    (2, "O'Hara's Inn", "Germany", "M", "Bavaria"),
    (3, "Republic Café", "United Kingdom", "M", "Wales"),
    (4, "The Rise of the Blue Beetle!", "usa", "F", "Ohio"),
    (5, "Caribbean Bar", "Asia", None, "北京市"),
]


def make(path: Path, rows: list[tuple[object, ...]] = ROWS) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE "shop list" (id INTEGER, name TEXT, "paid?" TEXT, sex TEXT, state TEXT)')
        connection.executemany('INSERT INTO "shop list" VALUES (?, ?, ?, ?, ?)', rows)
        connection.commit()
    return path


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return open_index(make(tmp_path / "shop.sqlite"), tmp_path / "indexes")


def found(question: str, index: Index) -> list[str]:
    return [value.text for value in match(question, index)]


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("who is in FRANCE?", "France"),
        ("how many French ones are there?", "France"),
        ("all that is near bon marche", "Bon Marché"),
        ("and in Marché Bon?", "Bon Marché"),
        ("those from north carolina", "NorthCarolina"),
        ("what O'Hara's inn costs", "O'Hara's Inn"),
        ("governments that are republics with a café", "Republic Café"),
        ("the channel of The Rise of the Blue Beetle", "The Rise of the Blue Beetle!"),
        ("cars made in the United States", "usa"),
        ("the Carribean bar", "Caribbean Bar"),
        ("asian ones", "Asia"),
        ("在Germany有多少?", "Germany"),
        ("北京有多少家店?", "北京市"),
    ],
)
def test_values_are_found_in_other_forms(question: str, value: str, index: Index) -> None:
    assert found(question, index)[:1] == [value]


@pytest.mark.parametrize(
    "question", ["", "how many are there?", "show the names and states of all shops", "???", "x" * 5000]
)
def test_nothing_is_found_where_nothing_is_named(question: str, index: Index) -> None:
    assert found(question, index) == []


def test_a_line_is_the_condition_that_a_query_needs(index: Index) -> None:
    (value, *_) = match("paid by germany, o'hara's inn", index)
    lines = {v.line for v in match("paid by germany, o'hara's inn", index)}
    assert lines == {'"shop list"."paid?" = \'Germany\'', "\"shop list\".name = 'O''Hara''s Inn'"}
    assert value.score == 1.0


def test_the_budget_cuts_the_least_likely(index: Index) -> None:
    values = [StoredValue("t", "c", f"value {n}", 1 - n / 10) for n in range(10)]
    assert render(values, 10_000).splitlines() == [value.line for value in values]
    budget = 2 * (tokens(values[0].line) + 1)
    assert render(values, budget).splitlines() == [value.line for value in values[:2]]
    assert render(values, 3) == ""


def test_an_index_is_built_once_and_again_after_a_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    database, folder = make(tmp_path / "shop.sqlite"), tmp_path / "indexes"
    built = open_index(database, folder).file.stat().st_mtime_ns
    assert open_index(database, folder).file.stat().st_mtime_ns == built
    assert not caplog.messages
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE \"shop list\" SET state = 'Provence' WHERE id = 1")
        connection.commit()
    os.utime(database, ns=(1, 1))
    assert found("in provence", open_index(database, folder)) == ["Provence"]
    assert "has changed; its index of values is built again" in caplog.text


def test_a_damaged_index_is_built_again(tmp_path: Path) -> None:
    database, folder = make(tmp_path / "shop.sqlite"), tmp_path / "indexes"
    open_index(database, folder).file.write_bytes(b"SQLite format 3\0 but no")
    assert found("france", open_index(database, folder)) == ["France"]


def test_odd_databases(tmp_path: Path) -> None:
    path = tmp_path / "odd.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE wide ({', '.join(f'c{n}' for n in range(2000))})")
        connection.execute('CREATE TABLE "a""b\nc" ("x""y" TEXT, "it\'s" BLOB)')
        connection.execute("INSERT INTO wide (c0, c1999) VALUES ('first one', 'last one')")
        rows = [("long " + "x" * 1_000_000, b"\0\1"), ("two\nlines", 5), ("Zürich", None), (b"Zurich", "  ")]
        connection.executemany('INSERT INTO "a""b\nc" VALUES (?, ?)', rows)
        connection.commit()
    index = open_index(path, tmp_path)
    assert index.count == 3
    assert [v.line for v in match("zurich", index)] == ['"a""b\nc"."x""y" = \'Zürich\'']
    assert [v.column for v in match("what is the last one", index)][:1] == ["c1999"]


def test_an_empty_or_missing_database(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "empty.sqlite")) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.commit()
    assert match("anything at all", open_index(tmp_path / "empty.sqlite", tmp_path / "i")) == []
    with pytest.raises(UserError, match="no such database file"):
        open_index(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("no database")
    with pytest.raises(UserError, match="not a SQLite database"):
        open_index(tmp_path / "text.sqlite", tmp_path / "i")


def test_words() -> None:
    assert words_of("Él Niño's 北京 O2") == ["el", "nino", "s", "北", "京", "o2"]
