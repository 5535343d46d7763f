"""The grammar: many right wordings of a meaning, held-out rules that training never uses, and guards on what is drawn."""

import random
import sqlite3
from contextlib import closing

import pytest

from text2sql.synth.check import unsaid
from text2sql.synth.compose import Composer
from text2sql.synth.draw import Drawer
from text2sql.synth.meaning import Condition, Place, Query, Term
from text2sql.synth.profile import DatabaseProfile, profile_database, refined
from text2sql.synth.render import to_sql
from text2sql.synth.rules import LANGUAGES, REGISTERS, Rules, _load
from text2sql.synth.say import Speaker

_SCHEMA = """
CREATE TABLE teams (id INTEGER PRIMARY KEY, name TEXT, city TEXT, budget REAL);
CREATE TABLE players (id INTEGER PRIMARY KEY, team_id INT REFERENCES teams(id), captain_id INT REFERENCES players(id),
  name TEXT, age INT, is_goalkeeper INT, birth_date TEXT, dept_no TEXT, email TEXT);
CREATE TABLE cups (id INTEGER PRIMARY KEY, title TEXT, year INT);
CREATE TABLE has_won (player_id INT REFERENCES players(id), cup_id INT REFERENCES cups(id), PRIMARY KEY (player_id, cup_id));
"""


@pytest.fixture(scope="module")
def connection():
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.executescript(_SCHEMA)
        teams = [(n, f"Team {n}", "Ulm Bonn Kiel".split()[n % 3], n * 10.5) for n in range(1, 9)]
        opened.executemany("INSERT INTO teams VALUES (?, ?, ?, ?)", teams)
        players = [
            (
                n,
                1 + n % 6,
                1 + n % 4,
                f"Player {n}",
                18 + n % 17,
                int(n % 7 == 0),
                f"19{70 + n % 30}-02-11",
                f"D{n % 5}",
            )
            for n in range(1, 60)
        ]
        opened.executemany(
            "INSERT INTO players VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*player, None if player[0] % 3 else f"p{player[0]}@x.org") for player in players],
        )
        opened.executemany("INSERT INTO cups VALUES (?, ?, ?)", [(n, f"Cup {n}", 2000 + n) for n in range(1, 11)])
        opened.executemany("INSERT INTO has_won VALUES (?, ?)", [(n, 1 + n * 7 % 9) for n in range(1, 40)])
        yield opened


@pytest.fixture(scope="module")
def profile(connection) -> DatabaseProfile:
    return refined(connection, profile_database(connection))


def meanings(profile: DatabaseProfile, count: int, seed: int = 1) -> list[Query]:
    drawer = Drawer(profile, random.Random(seed))
    return [query for query in (drawer.draw() for _ in range(count)) if query is not None]


def column(profile: DatabaseProfile, table: str, name: str):
    found = profile.tables[table]
    return next(c for c in (*found.columns, *found.keys) if c.name == name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_pattern_has_thousands_of_wordings_and_each_says_all_of_it(profile, language):
    players = profile.tables["players"]
    condition = Condition("gt", Term(0, column(profile, "players", "age")), (23,))
    query = Query((Place(players),), (Term(0, column(profile, "players", "birth_date")),), (condition,))
    speaker = Speaker(language, "natural", random.Random(3))
    said = [speaker.question(query) for _ in range(6000)]
    assert len(set(said)) > 2000
    assert not [text for text in set(said) if unsaid(text, to_sql(query))]
    assert not [text for text in said if "{" in text or "|" in text or "  " in text]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("register", REGISTERS)
def test_every_meaning_can_be_said(profile, connection, language, register):
    speaker, shapes = Speaker(language, register, random.Random(5)), set()
    for query in meanings(profile, 1500):
        connection.execute(to_sql(query)).fetchone()
        text = speaker.question(query)
        shapes.add(query.asks)
        assert text and "{" not in text and "|" not in text, (query.shape, text)
    assert len(shapes) >= 11


def test_held_out_rules_put_sentences_together_otherwise_with_the_same_words(profile):
    """No held-out sentence is one of training; what differs is the rule, so every word also occurs in training."""
    rng, queries = random.Random(2), meanings(profile, 4000)
    questions = {r: [Speaker("en", r, rng).question(query) for query in queries] for r in ("natural", "heldout")}
    assert not set(questions["natural"]) & set(questions["heldout"])
    rules, _ = _load("en")
    sentences = [rule for rule in rules.values() if "heldout" in rule]
    assert len(sentences) >= 20
    assert all(not set(rule["heldout"]) & {*rule["natural"], *rule.get("plain", [])} for rule in sentences)


def test_chosen_texts_are_put_in_as_they_are():
    rules = Rules("en", "natural", random.Random(1))
    assert rules.expand("phrase", {"head": "(a|b) {c}", "mods": "{d}"}) == "(a|b) {c} {d}"


def test_flags_codes_and_nulls_are_guarded(profile):
    text = "\n".join(to_sql(query) for query in meanings(profile, 6000))
    assert "is_goalkeeper = 1" in text
    for senseless in (
        "avg(is_goalkeeper)",
        "is_goalkeeper >",
        "max(dept_no)",
        "email !=",
        "email NOT LIKE",
        "sum(age)",
    ):
        assert senseless not in text
    assert "email IS NULL" in text


def test_keys_to_the_same_table_are_used_and_named(profile):
    speaker = Speaker("en", "natural", random.Random(4))
    own = [q for q in meanings(profile, 6000) if any(p.join and p.join.key == "captain_id" for p in q.places)]
    assert own
    for query in (q for q in own if q.where and q.places[1].up and q.where[0].term.place == 1 and len(q.places) == 2):
        assert "captain" in speaker.question(query)


def test_what_a_linking_table_links_is_said(profile):
    """ "players without cups", and not "players without has won records"."""
    speaker = Speaker("en", "natural", random.Random(4))
    linked = [
        q
        for q in meanings(profile, 8000)
        if any(c.inner and c.inner.places[0].table.name == "has_won" for c in q.where)
    ]
    said = [speaker.question(query) for query in linked]
    assert said and all("cups" in text or "players" in text for text in said)


def test_rows_that_a_join_repeats_are_counted_once(profile, connection):
    composer = Composer(profile, ["en"], "natural", random.Random(1), lambda sql: connection.execute(sql).fetchall())
    found = 0
    for _ in range(6000):
        drawn = composer.meaning()
        if drawn and drawn[0].asks == "list" and len(drawn[0].places) == 2 and not drawn[0].places[1].up:
            rows = connection.execute(drawn[1].replace("SELECT ", "SELECT T1.rowid, ", 1)).fetchall()
            assert len(rows) == len(set(rows)), drawn[1]
            found += 1
    assert found > 10


@pytest.mark.parametrize(
    ("question", "missing"),
    [
        ("What are the names of players older than 30 from Ulm?", []),
        ("What are the names of players older than 31 from Ulm?", ["30"]),
        ("Which players are older than 30 in Ulm?", ["name"]),
        ("哪些 players 的 age 大于 30，city 是 Ulm？给出 name。", []),
    ],
)
def test_the_back_check_finds_what_is_not_said(question, missing):
    assert unsaid(question, "SELECT name FROM players WHERE age > 30 AND city = 'Ulm'") == missing
