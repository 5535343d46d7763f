"""The command line: the official table, other formats and outputs, and one clear line for each mistake."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sqleval.cli import main
from sqleval.inputs import read_tasks
from support.sqleval_files import make_database

TABLES = [
    {
        "db_id": "shop",
        "table_names_original": ["customer", "purchase"],
        "column_names_original": [
            [-1, "*"],
            [0, "id"],
            [0, "name"],
            [0, "city"],
            [0, "age"],
            [1, "id"],
            [1, "customer_id"],
            [1, "item"],
            [1, "price"],
        ],
        "foreign_keys": [[6, 1]],
    }
]
GOLD = [
    "SELECT count(*) FROM customer",
    "SELECT name FROM customer ORDER BY age",
    "SELECT item FROM purchase WHERE price > 6",
]
PRED = ["SELECT count(id) FROM customer", "SELECT nam FROM customer", "SELECT item FROM purchase WHERE price > 6"]
SCRIPT = Path(__file__).resolve().parents[2] / "test-suite-sql-eval/evaluation.py"


class Files:
    """Gold, predictions and tables in a folder, and a way to run the command on them."""

    def __init__(self, folder: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.root, self.capsys = folder, root, capsys
        self.gold = self.write("gold.sql", "".join(f"{sql}\tshop\n" for sql in GOLD))
        self.pred = self.write("pred.sql", "".join(f"{sql}\n" for sql in PRED))
        self.tables = self.write("tables.json", json.dumps(TABLES))

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def run(
        self, *flags: object, gold: Path | None = None, pred: Path | None = None, root: Path | None = None
    ) -> tuple[int, str, str]:
        files = ["--gold", gold or self.gold, "--pred", pred or self.pred, "--db", root or self.root, "--jobs", 1]
        code = main([str(flag) for flag in (*files, *flags)])
        out, err = self.capsys.readouterr()
        return code, out, err


@pytest.fixture()
def files(tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> Files:
    return Files(tmp_path, root, capsys)


def cells(out: str, row: str) -> list[str]:
    return next(line for line in out.splitlines() if line.startswith(row)).split()[len(row.split()) :]


def test_official_table_and_outputs(files: Files) -> None:
    out_file, lines_file = files.folder / "out/report.json", files.folder / "lines.jsonl"
    code, out, err = files.run(
        "--table", files.tables, "--etype", "all", "--output", out_file, "--per-example", lines_file
    )
    assert (code, err) == (0, f"written: {out_file}\nwritten: {lines_file}\n")
    assert out.splitlines()[0] == " ".join(name.ljust(20) for name in ("", "easy", "medium", "hard", "extra", "all"))
    assert cells(out, "count") == ["3", "0", "0", "0", "3"]
    assert cells(out, "execution") == ["0.667", "0.000", "0.000", "0.000", "0.667"]
    assert cells(out, "exact match") == ["0.333", "0.000", "0.000", "0.000", "0.333"]
    assert "protocol: spider-exec\n" in out
    rows = [json.loads(line) for line in lines_file.read_text().splitlines()]
    assert rows[1] == {
        "index": 1,
        "db_id": "shop",
        "hardness": "easy",
        "exec": 0,
        "exact": 0,
        "error": "no_such_column",
    }
    assert [row["exec"] for row in rows] == [1, 0, 1]
    report = json.loads(out_file.read_text())
    assert report["protocol"] == "spider-exec" and report["n"] == 3 and report["errors"] == {"no_such_column": 1}
    assert report["scores"]["all"]["exec_interval"][0] < 2 / 3 < report["scores"]["all"]["exec_interval"][1]


def test_json_and_jsonl(files: Files) -> None:
    gold = files.write("gold.json", json.dumps([{"db_id": "shop", "query": sql, "question": "q"} for sql in GOLD]))
    shuffled = [{"question_id": i, "db_id": "shop", "pred": PRED[i]} for i in (2, 0, 1)]
    jsonl = files.write("pred.jsonl", "".join(json.dumps(row) + "\n" for row in shuffled))
    bird = files.write(
        "pred.json", json.dumps({str(i): f"{sql}\t----- bird -----\tshop" for i, sql in enumerate(PRED)})
    )
    for pred in (jsonl, bird):
        tasks = read_tasks(gold, pred)
        assert [task.pred for task in tasks] == PRED
        assert files.run(gold=gold, pred=pred)[0] == 0


def test_multi_turn(files: Files) -> None:
    gold = files.write("g.sql", f"{GOLD[0]}\tshop\n{GOLD[2]}\tshop\n\n{GOLD[0]}\tshop\n")
    pred = files.write("p.sql", f"{GOLD[0]}\n{GOLD[2]}\n\nSELECT 99\n")
    code, out, _ = files.run("--table", files.tables, "--etype", "all", gold=gold, pred=pred)
    assert code == 0
    assert cells(out, "count") == ["3", "0", "0", "0", "3", "2"]
    assert cells(out, "execution")[-2:] == ["0.667", "0.500"]
    turns = out.split("TURN EXECUTION")
    assert cells(turns[1], "execution")[:2] == ["0.500", "1.000"]
    assert cells(turns[0].split("turn 1")[1], "count")[:3] == ["2", "1", "0"]


def test_protocols_and_suites(files: Files, root: Path) -> None:
    wrong_by_luck = "SELECT name FROM customer WHERE age >= 41"
    gold = files.write("g.sql", "SELECT name FROM customer WHERE age > 40\tshop\n")
    pred = files.write("p.sql", wrong_by_luck + "\n")
    assert cells(files.run(gold=gold, pred=pred)[1], "execution")[-1] == "1.000"
    shutil.copy(root / "shop/shop.sqlite", root / "shop/old.sqlite")
    make_database(
        root / "shop/shop_1.sqlite",
        "CREATE TABLE customer (id, name, city, age REAL); INSERT INTO customer VALUES (1, 'X', 'Y', 40.5)",
    )
    out = files.run(gold=gold, pred=pred)[1]
    assert cells(out, "execution")[-1] == "0.000" and "protocol: spider-test-suite" in out
    assert cells(files.run("--protocol", "spider-exec", gold=gold, pred=pred)[1], "execution")[-1] == "1.000"
    for name in ("bird-ex", "bird-soft-f1", "bird-ves", "strict"):
        out = files.run("--protocol", name, gold=gold, pred=pred)[1]
        assert f"protocol: {name}" in out and float(cells(out, "execution")[-1]) > 0.4
    code, _, err = files.run("--protocol", "strict", "--plug_value")
    assert code == 2 and "belong to the spider protocols" in err


def test_flags_change_verdicts(files: Files) -> None:
    gold = files.write(
        "g.sql", "SELECT name FROM customer WHERE city = 'Rome'\tshop\nSELECT DISTINCT name FROM customer\tshop\n"
    )
    pred = files.write("p.sql", "SELECT name FROM customer WHERE city = 'Oslo'\nSELECT name FROM customer\n")
    assert cells(files.run(gold=gold, pred=pred)[1], "execution")[-1] == "0.500"
    assert cells(files.run("--plug_value", gold=gold, pred=pred)[1], "execution")[-1] == "1.000"
    out = files.run("--plug_value", "--keep_distinct", "--official-quirks", gold=gold, pred=pred)[1]
    assert cells(out, "execution")[-1] == "0.500"
    assert "protocol: spider-exec+plug_value+keep_distinct+official_quirks" in out


def test_comparison_and_page(files: Files) -> None:
    page = files.folder / "report.html"
    other = files.write("other.sql", "".join(f"{sql}\n" for sql in GOLD))
    code, out, _ = files.run("--compare", other, "--html", page)
    assert code == 0 and "difference -0.333" in out and "only other.sql right: 1" in out and "McNemar p = 1" in out
    text = page.read_text()
    assert "no such column: nam" in text and "spider-exec" in text and "other.sql" in text
    assert "http" not in text.replace("</html>", "")


@pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))),
    reason="no browser to look with: install chromium",
)
def test_page_in_a_browser(files: Files) -> None:
    page = files.folder / "report.html"
    nasty = "SELECT '</script><script>document.title=\"broken\"</script>' AS x"
    pred = files.write("p.sql", f"{nasty}\n{PRED[1]}\n{PRED[2]}\n")
    assert files.run("--html", page, pred=pred)[0] == 0
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "2 of 2" in dom  # written by the page's own script
    assert "<title>p.sql: evaluation</title>" in dom
    assert "&lt;/script&gt;" in dom


def test_the_script_runs_from_any_folder(files: Files) -> None:
    command = [
        sys.executable,
        SCRIPT,
        "--gold",
        files.gold,
        "--pred",
        files.pred,
        "--db",
        files.root,
        "--progress_bar_for_each_datapoint",
    ]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    assert cells(done.stdout, "execution")[-1] == "0.667" and "3/3" in done.stderr


def test_mistakes_that_stop_a_run(files: Files, tmp_path: Path) -> None:
    short = files.write("short.sql", PRED[0] + "\n")
    no_db = files.write("nodb.sql", GOLD[0] + "\n")
    other_db = files.write("other.sql", "".join(f"{sql}\tshop\n" for sql in GOLD[:2]) + f"{GOLD[2]}\tmarket\n")
    bad_gold = files.write("bad.sql", b"SELECT '\xff'\tshop\n")
    torn = files.write("torn.jsonl", '{"pred": "SELECT 1"}\n{"pred": \n')
    keyless = files.write("keyless.jsonl", '{"question_id": 1}\n')
    wide = files.write("wide.sql", "SELECT 1\n".encode("utf-16"))
    mixed = files.write("mixed.jsonl", '{"pred": "x", "db_id": "zoo"}\n' * 3)
    cases: list[tuple[dict, tuple, str]] = [
        ({"pred": short}, (), "short.sql:1: 1 predictions here, but"),
        ({"pred": tmp_path / "none.sql"}, (), "none.sql: No such file"),
        ({"gold": no_db}, (), "nodb.sql:1: expected SQL, a tab"),
        ({"gold": other_db}, (), "no database for market (gold line 3)"),
        ({"gold": bad_gold}, (), "bad.sql:1: not UTF-8"),
        ({"pred": torn}, (), "torn.jsonl:2: not JSON"),
        ({"pred": keyless}, (), "keyless.jsonl:1: no prediction"),
        ({"pred": wide}, (), "wide.sql:1: the file is UTF-16"),
        ({"pred": mixed}, (), "mixed.jsonl:1: db_id 'zoo', but the gold has 'shop'"),
        ({"pred": files.write("empty.sql", "")}, (), "empty.sql: the file is empty"),
        ({"root": tmp_path / "nowhere"}, (), "nowhere: no such folder of databases"),
        ({}, ("--etype", "match"), "need --table"),
        ({}, ("--etype", "all", "--table", no_db), "not a tables.json"),
        ({}, ("--etype", "all", "--table", files.write("t.json", "[]")), "no schema for shop"),
        ({}, ("--output", "/proc/none/report.json"), "cannot be written"),
        ({}, ("--timeout", 0), "above 0 seconds"),
    ]
    for where, flags, message in cases:
        code, _, err = files.run(*flags, **where)
        assert code == 2, message
        assert err.startswith("error: ") and err.count("\n") == 1 and message in err, err


def test_mistakes_that_do_not(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    gold = files.write("g.sql", GOLD[0] + "\tshop\nSELECT x FROM nope\tshop\n" + GOLD[2] + "\tshop\n")
    pred = files.write("p.sql", b"SELECT '\xff'\n\n" + GOLD[2].encode() + b"\n")
    code, out, _ = files.run("--output", files.folder / "o.json", gold=gold, pred=pred)
    assert code == 0 and cells(out, "execution")[-1] == "0.333"
    said = caplog.text
    assert "p.sql:1: not UTF-8" in said and "p.sql:2: empty prediction" in said
    assert "g.sql:2: the gold does not run on shop (no such table: nope)" in said
    assert json.loads((files.folder / "o.json").read_text())["gold_errors"] == 1
