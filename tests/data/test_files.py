"""Any table of questions and SQL: every format is read, bad rows are left out by file and number, schemas are built."""

import gzip
import json
import sqlite3

import pytest

from support.tables import DDL, lines, recipe, rows, training_messages, write
from text2sql.data.prepare import prepare
from text2sql.errors import UserError
from text2sql.records import Example, read_jsonl


@pytest.mark.parametrize(
    "name",
    [
        "a.json",
        "a.jsonl",
        "a.ndjson",
        "a.csv",
        "a.tsv",
        "a.parquet",
        "a.json.gz",
        "a.jsonl.gz",
        "a.csv.gz",
        "a.jsonl.zst",
    ],
)
def test_every_format_gives_the_same_examples(tmp_path, name):
    write(tmp_path / name, rows())
    report = prepare(recipe(tmp_path, {"train": [name]}), "r")
    assert (report["splits"]["train"]["kept"], report["splits"]["train"]["rejected"]) == (6, {})
    examples = list(read_jsonl(tmp_path / "out" / "examples" / "train.jsonl", Example))
    assert [e.sql for e in examples] == [row["sql"] for row in rows()]
    assert {e.schema for e in examples} == {"CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT);"}
    assert {e.difficulty for e in examples} == {"easy"}
    taught = lines(tmp_path / "out" / "sft_train.jsonl")
    assert sorted(map(str, taught)) == sorted(str({"messages": training_messages(e)}) for e in examples)


GOOD = rows(1)[0]


@pytest.mark.parametrize(
    ("name", "data", "reason", "detail"),
    [
        ("a.json", json.dumps([GOOD, GOOD]).encode()[:-60], "file is cut off or damaged", "a.json row 2: "),
        ("a.jsonl", b"\n".join([json.dumps(GOOD).encode(), b'{"question": ']), "not valid JSON", "a.jsonl row 2: "),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "caf\xe9", "sql": "x"}']),
            "damaged text",
            "a.jsonl row 2: ",
        ),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "a\\ud800", "sql": "x"}']),
            "damaged text",
            "a.jsonl row 2: ",
        ),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "x", "sql": ["a"]}']),
            "wrong type",
            "a.jsonl row 2: 'sql' should be str, found list",
        ),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "x"}']),
            "missing key",
            "a.jsonl row 2: no key 'sql'; found 'question'",
        ),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "x", "sql": "SELEC 1"}']),
            "gold does not parse",
            "a.jsonl row 2: ",
        ),
        (
            "a.jsonl",
            b"\n".join([json.dumps(GOOD).encode(), b'{"question": "x", "sql": "DROP TABLE a"}']),
            "gold does not parse",
            "a.jsonl row 2: Drop",
        ),
        ("a.csv", b"question,sql\nx,SELECT 1\ny\n", "wrong number of fields", "a.csv row 2: expected 2 (line 3)"),
        ("a.csv", b'question,sql\nx,SELECT 1\n"y,SELECT 1', "file is cut off or damaged", "a.csv row 2: "),
        ("a.csv", b'question,sql\n"x"y,SELECT 1\nz,SELECT 1\n', "not valid CSV", "a.csv row 1: "),
        ("a.json", json.dumps([GOOD]).encode()[:-1] + b", " + b"[" * 9999, "file is cut off or damaged", "a.json row "),
        (
            "a.json.gz",
            gzip.compress(json.dumps([GOOD, GOOD] * 500).encode())[:-30],
            "file is cut off or damaged",
            "a.json.gz row ",
        ),
    ],
)
def test_bad_rows_are_counted_with_file_and_number(tmp_path, name, data, reason, detail):
    (tmp_path / name).write_bytes(data)
    report = prepare(recipe(tmp_path, {"train": [name]}), "r")
    assert report["splits"]["train"]["kept"] >= 1
    assert report["splits"]["train"]["rejected"].get(reason) == 1
    (row,) = [row for row in lines(tmp_path / "out" / "rejected.jsonl") if row["reason"] == reason]
    assert row["detail"].startswith(detail)
    assert report["splits"]["train"]["rejected_examples"][reason][0]["detail"] == row["detail"]


ODD = ("NaN", "-Infinity", "1e400", str(2**70), '"a\tb"', '{"deep": [NaN]}')


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "a.json.zst", "objects.json"])
def test_numbers_that_are_none_cost_their_row_at_most(tmp_path, name):
    """Where nobody needs the value its row stays; where it is the question, that row alone is left out."""
    spare = [json.dumps({**GOOD, "question": f"{n}?"})[:-1] + f', "score": {odd}}}' for n, odd in enumerate(ODD)]
    needed = [f'{{"question": {odd}, "sql": "SELECT 1"}}' for odd in ("NaN", "1e400")]
    many = [json.dumps({**GOOD, "question": f"{n} singers?"}) for n in range(3000)]
    rows_ = [*many[:1500], *spare, *needed, *many[1500:]]
    data = ("\n".join(rows_) if "jsonl" in name or "objects" in name else f"[{', '.join(rows_)}]").encode()
    packing = name.rpartition(".")[2]
    if packing == "zst":
        data = pytest.importorskip("zstandard").compress(data)
    (tmp_path / name).write_bytes(gzip.compress(data) if packing == "gz" else data)
    report = prepare(recipe(tmp_path, {"train": [name]}), "r")
    assert report["splits"]["train"]["kept"] == 3000 + len(ODD)
    assert report["splits"]["train"]["rejected"] == {"empty value": 1, "wrong type": 1}
    details = [row["detail"] for row in lines(tmp_path / "out" / "rejected.jsonl")]
    assert [detail.partition(":")[0] for detail in details] == [f"{name} row 1507", f"{name} row 1508"]


@pytest.mark.parametrize(
    ("end", "found"),
    [
        ("", "the end of the file"),
        ("}", "found }"),
        ("] []", "more text follows"),
        (', {"question": "cut', "Unterminated"),
    ],
)
def test_an_array_with_such_numbers_still_has_to_end(tmp_path, end, found):
    (tmp_path / "a.json").write_text(f'[{json.dumps(GOOD)}, {{"a": NaN}}, {json.dumps({**GOOD, "question": "x"})}{end}')
    report = prepare(recipe(tmp_path, {"train": ["a.json"]}), "r")
    assert report["splits"]["train"]["kept"] == 2
    assert report["splits"]["train"]["rejected"] == {"missing key": 1, "file is cut off or damaged": 1}
    last = lines(tmp_path / "out" / "rejected.jsonl")[-1]["detail"]
    assert last.startswith("a.json row 4: ") and found in last


def test_a_parquet_file_cut_off_and_a_file_of_unknown_kind(tmp_path):
    write(tmp_path / "a.parquet", rows())
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:-50])
    with pytest.raises(UserError, match="no row could be used; the first: file is cut off or damaged"):
        prepare(recipe(tmp_path, {"train": ["a.parquet"]}), "r")
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(UserError, match="expected a file ending in"):
        prepare(recipe(tmp_path, {"train": ["a.xlsx"]}), "r")


def test_a_zst_file_that_is_cut_off_keeps_what_it_has_and_says_so(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    frames = [
        zstandard.compress(b"".join(json.dumps({**GOOD, "question": f"{n} {at}?"}).encode() + b"\n" for n in range(90)))
        for at in range(2)
    ]
    (tmp_path / "a.jsonl.zst").write_bytes(frames[0] + frames[1][:-20])
    report = prepare(recipe(tmp_path, {"train": ["a.jsonl.zst"]}), "r")
    assert report["splits"]["train"]["kept"] >= 90
    assert report["splits"]["train"]["rejected"] == {"file is cut off or damaged": 1}


def test_text_that_is_no_text_costs_one_row_of_a_parquet_file(tmp_path):
    import pyarrow
    from pyarrow import parquet

    cells = pyarrow.array([b"a", b"caf\xe9", "多".encode()], pyarrow.binary())
    questions = pyarrow.StringArray.from_buffers(3, cells.buffers()[1], cells.buffers()[2])
    table = pyarrow.table({"question": questions, "sql": [f"SELECT {n}" for n in range(3)], "more": [[1], [], None]})
    parquet.write_table(table, tmp_path / "a.parquet")
    report = prepare(recipe(tmp_path, {"train": ["a.parquet"]}), "r")
    assert (report["splits"]["train"]["kept"], report["splits"]["train"]["rejected"]) == (2, {"damaged text": 1})


@pytest.mark.parametrize("name", ["x" * 400, "../music", "music/", "gone"])
def test_a_db_id_that_names_no_file_there_is_a_missing_database(tmp_path, name):
    (tmp_path / "db" / "music").mkdir(parents=True)
    build_database(tmp_path / "db" / "music" / "music.sqlite")
    rows_ = [{"question": "How many?", "sql": "SELECT 1", "db_id": db_id} for db_id in ("music", name)]
    write(tmp_path / "a.jsonl", rows_)
    report = prepare(recipe(tmp_path, {"train": ["a.jsonl"]}, database_root=str(tmp_path / "db")), "r")
    assert report["splits"]["train"]["rejected"] == {"missing database": 1}


def build_database(path):
    with sqlite3.connect(path) as connection:
        connection.executescript(DDL)
    connection.close()


def test_marks_of_other_encodings_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        "\ufeff".encode() + json.dumps({"question": "多少", "sql": "SELECT 1"}, ensure_ascii=False).encode()
    )
    (tmp_path / "b.jsonl").write_bytes(
        json.dumps({"question": "几个?", "sql": "SELECT 2"}, ensure_ascii=False).encode("utf-16")
    )
    report = prepare(recipe(tmp_path, {"train": ["a.jsonl", "b.jsonl"]}), "r")
    assert (report["splits"]["train"]["kept"], report["splits"]["train"]["rejected"]) == (2, {})


@pytest.mark.parametrize(
    ("schema", "sql", "reason"),
    [
        ('CREATE TABLE "order" ("select" INT, "Größe in cm" REAL)', 'SELECT "Größe in cm" FROM "order"', None),
        (
            "CREATE TABLE t (id INT AUTO_INCREMENT, kind ENUM('a','b') DEFAULT 'a', PRIMARY KEY (id)) ENGINE=InnoDB;",
            "SELECT kind FROM t",
            None,
        ),
        ("CREATE TABLE t (id serial, at timestamp default now())", "SELECT at FROM t", None),
        ("A database of singers with their names.", "SELECT name FROM singer", "schema cannot be built"),
        (
            "CREATE TABLE t (a); ATTACH DATABASE 'stolen.db' AS x; CREATE TABLE x.y (z)",
            "SELECT a FROM t",
            "schema cannot be built",
        ),
        ("CREATE TABLE t (a)", "SELECT b FROM t", "gold does not run (no_such_column)"),
        ("CREATE TABLE t (a)", "SELECT load_extension('x')", "gold does not run (forbidden)"),
        (
            "CREATE TABLE t (a)",
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r WHERE n < 0",
            "gold does not run (timeout)",
        ),
    ],
)
def test_schema_text_is_built_and_asked(tmp_path, monkeypatch, schema, sql, reason):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", [GOOD, {"question": "What?", "sql": sql, "schema": schema}])
    report = prepare(recipe(tmp_path, {"train": ["a.jsonl"]}, timeout=0.3), "r")
    assert report["splits"]["train"]["rejected"] == ({reason: 1} if reason else {})
    assert not (tmp_path / "stolen.db").exists()
