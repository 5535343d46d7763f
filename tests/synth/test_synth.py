"""Questions about a user's own database: they run, differ, reach all levels, and say so when the schema is too small."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sqleval import Failure, execute, hardness
from text2sql.errors import UserError
from text2sql.prompts import read_answer
from text2sql.records import TracedExample, read_jsonl
from text2sql.synth.own import LEVELS, write_for_database
from text2sql.synth.paraphrase import refusal
from text2sql.synth.trace import trace

ROOT = Path(__file__).parents[2]
SPIDER = Path(os.environ.get("TEXT2SQL_SHARED", ROOT.parent / "shared")) / "spider"
needs_spider = pytest.mark.skipif(not SPIDER.is_dir(), reason=f"Spider is not at {SPIDER} (set TEXT2SQL_SHARED)")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Three tables with odd names, dates, NULLs, a date with time, and two keys to one parent."""
    path = tmp_path_factory.mktemp("db") / "shop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            CREATE TABLE town (id INTEGER PRIMARY KEY, "name of town" TEXT, people INT);
            CREATE TABLE "order" (id INTEGER PRIMARY KEY, "from" INT REFERENCES town(id), "to" INT REFERENCES town(id),
              "größe" REAL, kind TEXT, day TEXT, at TEXT, note TEXT);
            CREATE TABLE item (id INTEGER PRIMARY KEY, "order" INT REFERENCES "order"(id), label TEXT, price REAL);
            """
        )
        towns = ("Ulm", "Bonn", "O'Hara", "Köln", "two\nlines", " padded ")
        connection.executemany(
            "INSERT INTO town VALUES (?, ?, ?)", [(n, name, 100 * n) for n, name in enumerate(towns, 1)]
        )
        connection.executemany(
            'INSERT INTO "order" VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
            [
                (
                    n,
                    1 + n % 6,
                    1 + n % 5,
                    n / 2,
                    "abc"[n % 3] * 4,
                    f"20{10 + n % 9}-0{1 + n % 9}-11",
                    f"2020-01-0{1 + n % 9} 10:00:00",
                    None if n % 4 else "x",
                )
                for n in range(40)
            ],
        )
        connection.executemany(
            "INSERT INTO item VALUES (?, ?, ?, ?)", [(n, n % 30, f"Thing {n % 7}", n * 1.5) for n in range(90)]
        )
    connection.close()
    return path


@pytest.mark.parametrize("languages", [("en",), ("zh",), ("en", "zh")])
def test_pairs_run_differ_and_reach_all_levels(shop, languages):
    made = write_for_database(shop, 400, languages=languages)
    assert len(made.examples) == 400
    assert made.note == ""
    assert made.levels == dict.fromkeys(LEVELS, 100)
    assert len({e.question.casefold() for e in made.examples}) == len({e.sql for e in made.examples}) == 400
    for example in made.examples:
        outcome = execute(shop, example.sql)
        assert not isinstance(outcome, Failure), example.sql
        assert any(cell is not None for row in outcome.rows for cell in row), example.sql
        assert outcome.rows != [(0,)], example.sql
        assert hardness(example.sql) == example.difficulty
        assert "{" not in example.question
        assert "\n" not in example.question + example.sql
    text = " ".join(e.sql for e in made.examples)
    for part in (
        "INTERSECT",
        "EXCEPT",
        "UNION",
        "HAVING",
        "GROUP BY",
        "NOT IN (SELECT",
        "strftime('%Y'",
        "LIKE",
        "JOIN",
        "LIMIT",
        "BETWEEN",
    ):
        assert part in text
    assert "two\nlines" not in text
    assert "padded" not in text
    assert write_for_database(shop, 400, languages=languages).examples == made.examples
    assert write_for_database(shop, 400, seed=1, languages=languages).examples != made.examples


def test_two_keys_to_one_parent_are_told_apart(shop):
    made = write_for_database(shop, 300)
    joined = [e for e in made.examples if '"order" AS T' in e.sql and "town AS T" in e.sql]
    assert joined
    for example in joined:
        assert (
            '"from"' if '."from"' in example.sql.partition(" ON ")[2].partition(" WHERE ")[0] else '"to"'
        ) in example.question


@pytest.fixture(scope="module")
def club(tmp_path_factory):
    """What a question may get wrong: parents without children, ties, a key of two columns, one to a column that repeats."""
    path = tmp_path_factory.mktemp("db") / "club.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            CREATE TABLE member (id INTEGER PRIMARY KEY, name TEXT, age INT, is_active TEXT, joined_year INT, phone INT, rank INT);
            CREATE TABLE member_in_team (member INT REFERENCES member(id), team TEXT, points INT);
            CREATE TABLE room (house TEXT, number INT, size INT, PRIMARY KEY (house, number));
            CREATE TABLE booking (house TEXT, number INT, guest TEXT, day DATE, FOREIGN KEY (house, number) REFERENCES room);
            CREATE TABLE town (name TEXT, land TEXT);
            CREATE TABLE visit (town TEXT REFERENCES town(name), cost INT);
            """
        )
        connection.executemany(
            "INSERT INTO member VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(n, f"Name {n}", 20 + n % 4, "yn"[n % 2], 2000 + n, 555000 + n, None if n < 3 else n) for n in range(12)],
        )
        connection.executemany(
            "INSERT INTO member_in_team VALUES (?, ?, ?)", [(n % 7, "rgb"[n % 3], n) for n in range(30)]
        )
        connection.executemany("INSERT INTO room VALUES (?, ?, ?)", [(h, n, n * 9) for h in "AB" for n in range(1, 6)])
        connection.executemany(
            "INSERT INTO booking VALUES (?, ?, ?, ?)",
            [("AB"[n % 2], 1 + n % 5, f"Guest {n}", f"2024-0{1 + n % 9}-05") for n in range(40)],
        )
        connection.executemany("INSERT INTO town VALUES (?, ?)", [("Ulm", "a"), ("Ulm", "b"), ("Bonn", "a")])
        connection.executemany("INSERT INTO visit VALUES (?, ?)", [("Ulm", 3), ("Bonn", 5), ("Bonn", 8)])
    connection.close()
    return path


def test_no_pair_claims_what_its_query_does_not_do(club):
    """Fewest over a join would miss parents without children; a tie, a half key or a repeating key would be luck."""
    made = write_for_database(club, 600)
    text = "\n".join(e.sql for e in made.examples)
    assert not [e.sql for e in made.examples if "JOIN" in e.sql and "count(*) ASC LIMIT" in e.sql]
    assert "booking AS T1 JOIN" not in text and "visit AS T1 JOIN" not in text
    assert "member_in_team AS T1 JOIN member AS T2" in text
    for senseless in ("sum(age)", "(joined_year)", "avg(phone)", "ORDER BY phone", "ORDER BY rank ASC LIMIT"):
        assert senseless not in text.replace("max(joined_year)", "").replace("min(joined_year)", "")
    assert "SELECT name FROM member ORDER BY age DESC LIMIT 1" not in text, "three members share the highest age"
    with sqlite3.connect(club) as connection:
        for sql in (e.sql for e in made.examples if " LIMIT " in e.sql):
            head, _, count = sql.rpartition(" LIMIT ")
            every = connection.execute(head).fetchall()
            assert len(every) > int(count) == len(connection.execute(sql).fetchall()), sql
    connection.close()


def test_names_are_told_so_that_they_can_be_read(club):
    questions = " ".join(e.question for e in write_for_database(club, 600).examples)
    assert "members in team" in questions and "member in teams" not in questions
    assert '"is active"' in questions and "is active" not in questions.replace('"is active"', "")
    assert " most " in questions and "has most" not in questions


def test_a_damaged_database_is_one_line(shop, tmp_path):
    damaged = tmp_path / "damaged.sqlite"
    data = bytearray(shop.read_bytes())
    data[4096:] = b"\x07" * (len(data) - 4096)
    damaged.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        write_for_database(damaged, 5)


def test_a_small_schema_gives_fewer_and_says_so(tmp_path):
    path = tmp_path / "tiny.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a INT)")
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
    made = write_for_database(path, 1000)
    assert 0 < len(made.examples) < 1000
    assert len({(e.question, e.sql) for e in made.examples}) == len(made.examples)
    assert f"only {len(made.examples)} of 1000" in made.note


def test_the_trace_says_what_the_query_does(shop):
    schema = "CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT); CREATE TABLE song (singer INT REFERENCES singer(id), title TEXT);"
    sql = 'SELECT T2.name, count(*) FROM song AS T1 JOIN singer AS T2 ON T1.singer = T2.id WHERE T2.name != "Ann" GROUP BY T2.id HAVING count(*) > 2 ORDER BY count(*) DESC LIMIT 3'
    steps = trace("Who has most songs?", sql, schema).splitlines()
    assert steps[0] == "The question asks: Who has most songs?"
    assert "Tables: song, singer." in steps
    assert "Join singer: song.singer = singer.id." in steps
    assert "Filter: singer.name <> 'Ann'." in steps
    assert "Keep groups with COUNT(*) > 2." in steps
    assert "Take the first 3." in steps
    assert not any("Ann" in step for step in steps if step.startswith("Columns"))
    assert "需要的表：song。" in trace("有哪些歌？", "SELECT title FROM song", schema)
    assert trace("What?", "SELEC nothing") == "The question asks: What?"


def test_a_trace_checks_only_what_holds():
    schema = "CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT); CREATE TABLE song (singer INT REFERENCES singer(id), title TEXT, year INT);"

    def check(sql, question="Which of 1996?"):
        last = trace(question, sql, schema).splitlines()[-1]
        return last.removeprefix("Check: ").rstrip(".").split("; ") if last.startswith("Check") else []

    by_key = "FROM song AS T1 JOIN singer AS T2 ON T1.singer = T2.id"
    assert check(f"SELECT T2.name, count(*) {by_key} GROUP BY T2.id") == [
        "each join follows a foreign key",
        "a group is one row of singer, so its columns have one value",
    ]
    assert check("SELECT T2.name, count(*) FROM song AS T1 JOIN singer AS T2 ON T1.year = T2.age GROUP BY T2.age") == []
    assert check("SELECT age, count(*) FROM singer GROUP BY age") == [
        "one table is enough, so no join is needed",
        "every plain column of the result is grouped",
    ]
    assert check("SELECT title FROM song WHERE year = 1996")[-1] == "the question names 1996"
    assert "the question names" not in str(check("SELECT title FROM song WHERE year = 9"))
    assert "the nested query gives one value" in check(
        "SELECT name FROM singer WHERE age > (SELECT avg(age) FROM singer)"
    )
    assert check("SELECT name FROM singer WHERE id NOT IN (SELECT singer FROM song)") == [
        "the nested query gives the values to compare with"
    ]


def test_the_command_writes_examples_and_cold_start_rows(shop, tmp_path):
    def run(*more):
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "text2sql.synth",
                "--db",
                str(shop),
                "-n",
                "40",
                "--out",
                str(tmp_path / "o.jsonl"),
                *more,
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    result = run("--reasoning", "--language", "en,zh")
    assert result.returncode == 0, result.stderr
    assert "40 questions" in result.stdout
    found = list(read_jsonl(tmp_path / "o.jsonl", TracedExample))
    assert all(e.reasoning and e.kind in ("sql", "多步推理") for e in found)
    assert run("--form", "coldstart").returncode == 0
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    for row in rows:
        parts = read_answer(row["response"])
        assert (parts.format, parts.type) == ("process", row["type"])
        assert not isinstance(execute(shop, parts.sql), Failure)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--db", "nowhere.sqlite"], "nowhere.sqlite: no such database file"),
        (["--db", __file__], "not a SQLite database"),
        (["--db", "SHOP", "--language", "fr"], "known languages are en, zh"),
        (["--db", "SHOP", "--register", "plain"], "register is natural or heldout"),
        (["--db", "SHOP", "-n", "0"], "--count is 1 or more"),
        (["--db", "SHOP", "-n", "3", "--paraphrase-url", "http://127.0.0.1:9/v1"], "no server answers"),
    ],
)
def test_mistakes_are_one_line(shop, tmp_path, arguments, message):
    given = [str(shop) if argument == "SHOP" else argument for argument in arguments]
    result = subprocess.run(
        [sys.executable, "-m", "text2sql.synth", *given, "--out", str(tmp_path / "o.jsonl")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("Which singers are called 'Ann' and are over 30?", ""),
        ("Which singers named Ann are older than 30?", "unchanged"),
        ("Which singers named Bo are older than 30?", "the value Ann is lost"),
        ("Which singers named Ann are older than thirty?", "the value 30 is lost"),
        ("", "no answer"),
        ("Ann 30?", "much longer or shorter"),
        ("哪些名叫 Ann 的歌手大于 30 岁？请列出他们的名字来。", "another language"),
    ],
)
def test_paraphrases_that_lose_something_are_refused(question, reason):
    example = TracedExample(
        "1",
        "d",
        "Which singers named Ann are older than 30?",
        "",
        "SELECT id FROM singer WHERE name = 'Ann' AND age > 30",
    )
    assert refusal(example, question) == reason


def test_empty_databases_are_refused(tmp_path):
    with sqlite3.connect(tmp_path / "e.sqlite") as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    with pytest.raises(UserError, match="no table has rows"):
        write_for_database(tmp_path / "e.sqlite", 5)


@needs_spider
@pytest.mark.parametrize("db_id", ["network_1", "voter_1", "course_teach", "world_1"])
def test_spider_databases_give_a_thousand_pairs(db_id):
    path = SPIDER / "database" / db_id / f"{db_id}.sqlite"
    made = write_for_database(path, 1000)
    assert len(made.examples) == 1000
    assert all(made.levels.values())
    assert len({(e.question.casefold(), e.sql) for e in made.examples}) == 1000
