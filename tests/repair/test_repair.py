"""Repair changes what the database itself shows to be a slip, and nothing else."""

import sqlite3
import time
from pathlib import Path

import pytest

from sqleval import Rows, execute
from support.hostile import hostile_statements
from support.sqleval_files import make_database
from text2sql.errors import UserError
from text2sql.records import Prediction
from text2sql.repair import repair, repaired, unstored

DATABASE = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, country TEXT, birth_year INTEGER);
CREATE TABLE song (song_id INTEGER PRIMARY KEY, singer_id INTEGER REFERENCES singer(id), title TEXT, genre TEXT);
CREATE TABLE "Odd Table" ("Home City" TEXT, "it's" TEXT);
INSERT INTO singer VALUES (1, 'José', 'France', 1970), (2, 'Ann', 'USA', 1980), (3, 'O''Neil', 'usa', 1990);
INSERT INTO song VALUES (1, 1, 'Ça va', 'Pop'), (2, 2, 'Hey', 'Rock'), (3, 3, 'say "hi"', 'pop rock');
INSERT INTO "Odd Table" VALUES ('São Paulo', 'YES'), (NULL, x'00ff');
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make_database(tmp_path / "music" / "music.sqlite", DATABASE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SELECT name FROM singer WHERE country = 'france'", "SELECT name FROM singer WHERE country = 'France'"),
        ('SELECT name FROM singer WHERE country != "FRANCE" ;', "SELECT name FROM singer WHERE country != 'France' ;"),
        ("SELECT id FROM singer AS T1 WHERE 'jose' = T1.name", "SELECT id FROM singer AS T1 WHERE 'José' = T1.name"),
        ("SELECT id FROM singer WHERE name = 'o''neil'", "SELECT id FROM singer WHERE name = 'O''Neil'"),
        ("SELECT 1 FROM song WHERE genre IN ('POP', 'Rock')", "SELECT 1 FROM song WHERE genre IN ('Pop', 'Rock')"),
        ("SELECT 1 FROM song WHERE title = 'SAY \"HI\"'", "SELECT 1 FROM song WHERE title = 'say \"hi\"'"),
        (
            'SELECT 1 FROM "odd table" WHERE "home city" = \'Sao paulo\' AND [it\'s] = "yes"',
            'SELECT 1 FROM "odd table" WHERE "home city" = \'São Paulo\' AND [it\'s] = \'YES\'',
        ),
        (
            "SELECT 1 FROM song WHERE singer_id IN (SELECT id FROM singer WHERE country = 'FRANCE')",
            "SELECT 1 FROM song WHERE singer_id IN (SELECT id FROM singer WHERE country = 'France')",
        ),
        (
            "SELECT T1.title, T2.title FROM singer AS T1 JOIN song AS T2 ON T1.id = T2.singer_id",
            "SELECT T2.title, T2.title FROM singer AS T1 JOIN song AS T2 ON T1.id = T2.singer_id",
        ),
        (
            "SELECT T3.title FROM singer AS T1 JOIN song AS T2 ON T1.id = T1.singer_id WHERE T2.country = 'france'",
            "SELECT T2.title FROM singer AS T1 JOIN song AS T2 ON T1.id = T2.singer_id WHERE T1.country = 'France'",
        ),
        ("SELECT birthyear FROM singer", "SELECT birth_year FROM singer"),
    ],
)  # fmt: skip
def test_slips_are_put_right(database: Path, before: str, after: str) -> None:
    found = repair(before, database)
    assert found.sql == after
    assert found.changes
    assert isinstance(execute(database, found.sql), Rows)
    assert repair(found.sql, database).changes == ()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM singer WHERE country = 'France'",
        "SELECT name FROM singer WHERE country = 'Usa'",  # USA and usa are stored
        "SELECT name FROM singer WHERE country = 'Spain'",
        "select name from singer where country = 'france'",  # nothing says that the case of this literal is a slip
        "SELECT name FROM singer WHERE name = 'france'",  # stored, but in another column
        "SELECT name FROM singer WHERE country LIKE 'france%'",
        "SELECT name FROM singer WHERE lower(country) = 'france'",
        "SELECT country AS c FROM singer GROUP BY c HAVING c = 'france'",  # an alias is not certain to be the column
        "SELECT c FROM (SELECT country AS c FROM singer) WHERE c = 'france'",
        "WITH singer AS (SELECT 'france' AS country) SELECT * FROM singer WHERE country = 'france'",
        "SELECT name AS n FROM singer ORDER BY n",
        "SELECT rowid FROM singer",
        "SELECT name FROM singer AS a JOIN singer AS b ON a.id = b.id WHERE a.title = 1",
        "SELECT a.genre FROM singer AS a JOIN song AS b ON a.id = b.singer_id JOIN song AS c ON a.id = c.singer_id",
        "SELECT T1.genre FROM singer AS T1 JOIN (SELECT * FROM song) AS T2 ON T1.id = T2.singer_id",
        "SELECT nothing FROM singer",
        "UPDATE singer SET country = 'x' WHERE country = 'france'",
        "SELECT name FROM singer WHERE country = 'france",
        "DROP TABLE singer; SELECT 1",
        "",
    ],
)
def test_what_is_not_certain_stays_as_it_is(database: Path, sql: str) -> None:
    assert repair(sql, database) == repair(sql, database)
    assert repair(sql, database).sql == sql


def test_a_correlated_column_is_not_moved(database: Path) -> None:
    sql = "SELECT name FROM singer AS T1 WHERE EXISTS (SELECT 1 FROM song AS T2 WHERE T2.singer_id = T1.id AND country = 'USA')"
    assert repair(sql, database).sql == sql


def test_every_change_is_kept_and_logged(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    row = Prediction(
        "q1", "music", "SELECT T1.genre FROM singer AS T1 JOIN song AS T2 ON 1 WHERE T1.country = 'france'"
    )
    with caplog.at_level("INFO"):
        found = repaired(row, database.parents[1])
    assert found.raw == row.pred
    assert found.repairs is not None and len(found.repairs) == 2
    assert "singer.country: 'france' -> 'France'" in caplog.text and "T1.genre -> " in caplog.text
    assert repaired(found, database.parents[1]) == found


def test_a_literal_is_stored_or_not(database: Path) -> None:
    sql = "SELECT 1 FROM singer WHERE country = 'france' AND birth_year = '1970' AND name <> 'Ann'"
    assert [literal.text for literal in unstored(sql, database)] == ["france"]


def test_a_column_that_takes_too_long_to_read_is_left_alone(tmp_path: Path) -> None:
    endless = "CREATE VIEW slow AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT 'A' || x AS v FROM c;"
    database = make_database(tmp_path / "slow.sqlite", "CREATE TABLE t (v TEXT);" + endless)
    start = time.monotonic()
    assert repair("SELECT 1 FROM slow WHERE v = 'a0'", database, timeout=0.3).changes == ()
    assert time.monotonic() - start < 3


def test_a_changed_database_is_read_again(database: Path) -> None:
    sql = "SELECT name FROM singer WHERE country = 'peru'"
    assert repair(sql, database).sql == sql
    time.sleep(0.01)
    with sqlite3.connect(database) as db:
        db.execute("INSERT INTO singer VALUES (9, 'Eva', 'Peru', 1)")
    db.close()
    assert "'Peru'" in repair(sql, database).sql


def test_hostile_text_is_neither_run_nor_a_crash(database: Path) -> None:
    before = database.read_bytes()
    for sql in hostile_statements(str(database.parent)):
        repair(sql, database)
    assert database.read_bytes() == before


def test_a_missing_database_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such database file"):
        repair("SELECT 1", tmp_path / "none.sqlite")
