"""Schemas as SQLite has them, odd names and all, survive the way into the prompt."""

import sqlite3

import pytest

from text2sql.errors import UserError
from text2sql.schema import open_readonly, quote, read_schema, render_ddl


def database(*statements):
    connection = sqlite3.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    return connection


ODD = (
    'CREATE TABLE "Ref Types" ("type code" varchar(10) PRIMARY KEY, "select" int, naïve text, note)',
    'CREATE TABLE "order" (id INTEGER, line INTEGER, kind varchar(10), PRIMARY KEY (line, id), '
    'FOREIGN KEY (kind) REFERENCES "Ref Types"("type code"))',
    "CREATE TABLE Leg (order_line INT, order_id INT, gone INT REFERENCES Missing(id), "
    'FOREIGN KEY (order_line, order_id) REFERENCES "ORDER")',
)


def test_odd_names_composite_keys_and_undeclared_targets():
    assert render_ddl(read_schema(database(*ODD))).splitlines() == [
        'CREATE TABLE "Ref Types" ("type code" VARCHAR(10) PRIMARY KEY, "select" INT, "naïve" TEXT, note);',
        'CREATE TABLE "order" (id INTEGER, line INTEGER, kind VARCHAR(10) REFERENCES "Ref Types"("type code"), '
        "PRIMARY KEY (line, id));",
        'CREATE TABLE Leg (order_line INT REFERENCES "order"(line), order_id INT REFERENCES "order"(id), gone INT);',
    ]


def test_rendered_schema_builds_the_same_schema():
    text = render_ddl(read_schema(database(*ODD)))
    assert render_ddl(read_schema(database(*text.splitlines()))) == text


@pytest.mark.parametrize(
    "name",
    ["select", "Order", "two words", 'say "hi"', "2nd", "naïve", "with-dash", "plain", "_x1", "Index", ""],
)
def test_quoted_identifiers_can_be_created_and_read(name):
    connection = database(f"CREATE TABLE t ({quote(name)} TEXT)")
    assert [column.name for column in read_schema(connection).tables[0].columns] == [name]
    connection.execute(f"SELECT {quote(name)} FROM t")


def test_views_and_internal_tables_are_left_out():
    connection = database(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)", "CREATE VIEW v AS SELECT * FROM t", "ANALYZE"
    )
    assert [table.name for table in read_schema(connection).tables] == ["t"]


def test_invalid_utf8_is_read_and_nothing_can_be_written(tmp_path):
    path = tmp_path / "d.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x TEXT)")
        connection.execute("INSERT INTO t VALUES (CAST(x'41FF42' AS TEXT))")
    connection.close()
    opened = open_readonly(path)
    assert opened.execute("SELECT x FROM t").fetchall() == [("A\ufffdB",)]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        opened.execute("DELETE FROM t")


def test_missing_file_and_no_database_are_one_line(tmp_path):
    with pytest.raises(UserError, match="no such database file"):
        open_readonly(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("SELECT 1; -- a script and no database, long enough to have a header\n" * 9)
    with pytest.raises(UserError, match="not a SQLite database"):
        open_readonly(tmp_path / "text.sqlite")
