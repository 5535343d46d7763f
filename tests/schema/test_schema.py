"""Schemas as SQLite has them, odd names and all, survive the way into the prompt."""

import sqlite3

import pytest

from text2sql.errors import UserError
from text2sql.schema import SchemaError, open_readonly, quote, read_schema, render_ddl, schema_from_ddl
from text2sql.schema.model import read_samples, render
from text2sql.schema.sqlite import build_from_ddl
from text2sql.schema.tables_json import read_tables_json, spider_entry


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


def test_what_can_be_asked_about_is_in_the_schema_and_nothing_else():
    connection = database(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a INT, b INT AS (a * 2), c TEXT AS (a || 'x') STORED)",
        'CREATE VIEW v AS SELECT id, a AS "ein Wert" FROM t',
        "CREATE VIEW lost AS SELECT x FROM gone",
        "CREATE VIRTUAL TABLE page USING fts5(title, body)",
        "CREATE TABLE w (k TEXT PRIMARY KEY, up TEXT REFERENCES w(k)) WITHOUT ROWID",
        "ANALYZE",
    )
    assert render_ddl(read_schema(connection)).splitlines() == [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b INT, c TEXT);",
        'CREATE TABLE v (id INTEGER, "ein Wert" INT);',
        "CREATE TABLE page (title, body);",
        "CREATE TABLE w (k TEXT PRIMARY KEY, up TEXT REFERENCES w(k));",
    ]


def test_a_column_that_refers_to_two_tables_shows_both():
    text = "CREATE TABLE a (x INT PRIMARY KEY);\nCREATE TABLE b (y INT PRIMARY KEY);\nCREATE TABLE c (z INT REFERENCES b(y) REFERENCES a(x));"
    assert render_ddl(schema_from_ddl(text)) in (text, text.replace("b(y) REFERENCES a(x)", "a(x) REFERENCES b(y)"))
    twice = schema_from_ddl(
        "CREATE TABLE a (x INT); CREATE TABLE c (z INT REFERENCES a(x), FOREIGN KEY (z) REFERENCES a(x))"
    )
    assert "c (z INT REFERENCES a(x));" in render_ddl(twice)


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


DDL = "CREATE TABLE a (id INT PRIMARY KEY, name TEXT); CREATE TABLE b (a_id INT REFERENCES a(id), note TEXT); INSERT INTO a VALUES (1, 'x''y'), (2, NULL);"


def test_ddl_tables_json_and_sqlite_give_one_model(tmp_path):
    import json

    schema = schema_from_ddl(DDL)
    (tmp_path / "tables.json").write_text(json.dumps([spider_entry("d", schema)]))
    (found,) = read_tables_json(tmp_path / "tables.json").values()
    assert [(t.name, [c.name for c in t.columns], t.primary_key, t.foreign_keys) for t in found.tables] == [
        (t.name, [c.name for c in t.columns], t.primary_key, t.foreign_keys) for t in schema.tables
    ]


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("compact", "a(id INT*, name TEXT)\nb(a_id INT, note TEXT)\njoins: b.a_id = a.id"),
        ("names", "a(id*, name)\nb(a_id, note)\njoins: b.a_id = a.id"),
        (
            "ddl_rows",
            "CREATE TABLE a (id INT PRIMARY KEY, name TEXT);\n-- (1, 'x''y')\n-- (2, NULL)\nCREATE TABLE b (a_id INT REFERENCES a(id), note TEXT);",
        ),
        (
            "ddl_values",
            "CREATE TABLE a (\n  id INT PRIMARY KEY,\n  name TEXT -- 'x''y'\n);\nCREATE TABLE b (\n  a_id INT REFERENCES a(id),\n  note TEXT\n);",
        ),
    ],
)
def test_styles_show_keys_joins_and_data(style, expected):
    connection = build_from_ddl(DDL)
    schema = read_schema(connection)
    text = render(schema, style, read_samples(connection, schema))
    assert text == expected
    if style.startswith("ddl"):
        assert schema_from_ddl(text) == schema


def test_what_is_kept_of_a_schema_keeps_its_keys_whole():
    part = schema_from_ddl(DDL).keep(lambda table, column: column != "id")
    assert render_ddl(part) == "CREATE TABLE a (name TEXT);\nCREATE TABLE b (a_id INT, note TEXT);"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no such file"),
        ("{", "not valid JSON"),
        ("[]", "found none"),
        ('[{"db_id": "x"}]', "entry 1: not in the form"),
    ],
)
def test_bad_tables_json_is_one_line(tmp_path, text, message):
    path = tmp_path / "tables.json"
    if text:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_tables_json(path)


@pytest.mark.parametrize("text", ["", "SELECT 1", "not SQL", "PRAGMA writable_schema = 1", "CREATE TABLE a (x"])
def test_text_that_makes_no_tables_is_refused(text):
    with pytest.raises(SchemaError):
        build_from_ddl(text)
