"""The toy databases: their rows have what queries are tested on, and they are the same wherever they are built."""

import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from text2sql.errors import UserError
from text2sql.schema import open_readonly, quote, read_schema, render_ddl
from text2sql.toy.build import build_database, fill, schema_of
from text2sql.toy.spec import ColumnSpec, DatabaseSpec, TableSpec, load_spec, load_specs

SPECS = load_specs(Path(__file__).parents[2] / "data" / "toy")
each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.db_id)


def filled(spec, seed=42, rows_scale=1.0):
    connection = sqlite3.connect(":memory:")
    fill(connection, spec, seed, rows_scale)
    return connection


def values(connection, table, column):
    return [v for (v,) in connection.execute(f"SELECT {quote(column.name)} FROM {quote(table.name)}")]


def columns(spec, *kinds):
    return [(table, column) for table in spec.tables for column in table.columns if column.kind in kinds]


def test_24_databases_in_three_splits():
    assert Counter(spec.split for spec in SPECS) == {"train": 12, "val": 6, "test": 6}
    assert len({spec.db_id for spec in SPECS}) == 24
    assert all(spec.domain for spec in SPECS)


def test_test_databases_use_nouns_that_training_never_saw():
    def nouns(split):
        return {table.name.lower().rstrip("s") for spec in SPECS if spec.split == split for table in spec.tables}

    assert not nouns("test") & nouns("train")
    assert not nouns("test") & nouns("val")


@each_spec
def test_keys_hold_and_no_key_is_null(spec):
    connection = filled(spec)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for table, column in columns(spec, "id", "ref"):
        assert None not in values(connection, table, column)


@each_spec
def test_rows_have_nulls_ties_duplicates_and_dates(spec):
    connection = filled(spec)

    def repeats(*kinds):
        found = [values(connection, table, column) for table, column in columns(spec, *kinds)]
        return any(n > 1 for column in found for value, n in Counter(column).items() if value is not None)

    assert any(
        None in values(connection, t, c) for t, c in columns(spec, "name", "category", "integer", "real", "date")
    )
    assert repeats("integer", "real")
    assert repeats("name", "category")
    assert columns(spec, "date")
    for table, column in columns(spec, "date"):
        ordered = connection.execute(
            f"SELECT date({quote(column.name)}), {quote(column.name)} FROM {quote(table.name)}"
        )
        assert all(parsed == written for parsed, written in ordered)


@each_spec
def test_some_parents_have_no_child_and_some_have_many(spec):
    connection = filled(spec)
    sizes = {t.name: connection.execute(f"SELECT count(*) FROM {quote(t.name)}").fetchone()[0] for t in spec.tables}
    assert 150 <= sum(sizes.values()) <= 500
    for table, column in columns(spec, "ref"):
        children = Counter(values(connection, table, column))
        assert len(children) < sizes[column.to]
        assert max(children.values()) >= 2 * sizes[table.name] / sizes[column.to]


@each_spec
def test_rendered_schema_is_short_and_is_what_sqlite_says(spec):
    ddl = render_ddl(schema_of(spec))
    assert ddl == render_ddl(read_schema(filled(spec)))
    assert len(ddl) < 900
    assert 2 <= len(spec.tables) <= 5
    assert all(3 <= len(table.columns) <= 9 for table in spec.tables)


def test_same_seed_same_bytes_other_seed_other_rows(tmp_path):
    spec = SPECS[0]
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build_database(spec, tmp_path / f"{name}.sqlite", seed)
    a, b, c = ((tmp_path / f"{name}.sqlite").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    assert not list(tmp_path.glob("*.partial"))


def test_rows_scale_multiplies_rows(tmp_path):
    spec = SPECS[0]
    build_database(spec, tmp_path / "half.sqlite", 1, rows_scale=0.5)
    connection = open_readonly(tmp_path / "half.sqlite")
    count = connection.execute(f"SELECT count(*) FROM {quote(spec.tables[0].name)}").fetchone()[0]
    assert count == round(spec.tables[0].rows * 0.5)


def test_failed_build_keeps_the_database_that_was_there(tmp_path):
    path = tmp_path / "d.sqlite"
    table = TableSpec("t", (ColumnSpec("id", "id"),))
    build_database(DatabaseSpec("d", (table,)), path, 1)
    before = path.read_bytes()
    with pytest.raises(sqlite3.OperationalError):
        build_database(DatabaseSpec("d", (table, table)), path, 1)
    assert path.read_bytes() == before


def test_linking_table_has_a_composite_key_and_each_pair_once():
    parents = [TableSpec(name, (ColumnSpec("id", "id"),), 3) for name in ("a", "b")]
    link = TableSpec("link", (ColumnSpec("a_id", "ref", to="a"), ColumnSpec("b_id", "ref", to="b")), 50)
    connection = filled(DatabaseSpec("d", (*parents, link)))
    assert "PRIMARY KEY (a_id, b_id)" in render_ddl(read_schema(connection))
    assert 1 <= connection.execute("SELECT count(*) FROM link").fetchone()[0] <= 9


def test_numbers_stay_in_their_range_and_one_value_ranges_work():
    table = TableSpec(
        "t",
        (
            ColumnSpec("id", "id"),
            ColumnSpec("year", "integer", low=1950, high=2020),
            ColumnSpec("price", "real", low=0.5, high=3),
            ColumnSpec("one", "integer", low=7, high=7),
            ColumnSpec("flag", "integer", low=0, high=1),
        ),
        300,
    )
    connection = filled(DatabaseSpec("d", (table,)))
    for name, low, high in (("year", 1950, 2020), ("price", 0.5, 3), ("one", 7, 7), ("flag", 0, 1)):
        assert connection.execute(f"SELECT min({name}) >= ? AND max({name}) <= ? FROM t", (low, high)).fetchone() == (
            1,
        )
    assert connection.execute("SELECT count(DISTINCT flag), count(DISTINCT one) FROM t").fetchone() == (2, 1)


GOOD = """
db_id: d
split: train
tables:
  a:
    columns:
      id: {kind: id}
      name: {kind: name, values: [[x, y], [z]]}
  b:
    rows: 5
    columns:
      a_id: {kind: ref, to: a}
      on_date: {kind: date, low: 2000, high: 2001}
"""


def written(tmp_path, text):
    path = tmp_path / "d.yaml"
    path.write_text(text)
    return path


def test_loader_reads_a_description(tmp_path):
    spec = load_spec(written(tmp_path, GOOD))
    assert spec.tables[0].columns[1].values == ("x z", "y z")
    assert [table.rows for table in spec.tables] == [40, 5]
    assert replace(spec, domain="any") == spec


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: id", "kind: key", "table a, column id: kind is one of"),
        ("to: a", "to: c", "table b, column a_id: 'c' is not a table with an id column above"),
        ("to: a", "to: a, nulls: 0.1", "table b, column a_id: a key has no NULLs"),
        ("to: a", "too: a", "did you mean 'to'?"),
        ("values: [[x, y], [z]]", "values: [x, yes]", "a value should be text, not True"),
        ("values: [[x, y], [z]]", "low: 1", "values belong to name and category"),
        ("low: 2000", "low: 2002", "2002 to 2001 is not a range of date values"),
        ("rows: 5", "rows: 0", "table b: rows should be greater than or equal to 1, not 0"),
        ("rows: 5", "rows: many", "table b: rows should be integer, not 'many'"),
        ("  b:", "  A:", "table A: a second table of this name"),
        ("db_id: d", "db_id: e", "db_id 'e' should be the file's name"),
        ("split: train", "split: training", "split is one of train, val or test"),
        ("{kind: id}", "id", "table a: columns.id should be"),
        (
            "      a_id: {kind: ref, to: a}",
            "      A: {kind: id}\n      a: {kind: id}",
            "column a: a second column of this name",
        ),
        ("{kind: name, values: [[x, y], [z]]}", "{kind: id}", "table a: one id column at most"),
        ("to: a", "to: a, nulls: 1", "nulls should be less than 1"),
        ("tables:", "tables", "d.yaml"),
    ],
)
def test_loader_names_file_table_and_column(tmp_path, old, new, message):
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_spec(path)
    text = str(caught.value)
    assert message in text
    assert text.startswith(str(path))
    assert "\n" not in text


def test_missing_or_empty_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        load_specs(tmp_path / "none")
    with pytest.raises(UserError, match=r"no \*\.yaml"):
        load_specs(tmp_path)
