"""Leaks of an evaluation set: what is planted is found, and little else is dropped."""

import json
import os
import random
import re
from pathlib import Path

import pytest

from text2sql.data.leakage import LeakIndex, read_evaluation
from text2sql.data.normal import bare_sql, normal_question, normal_sql
from text2sql.errors import UserError
from text2sql.schema import schema_from_ddl

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("TEXT2SQL_SHARED", ROOT.parent / "shared"))
needs_spider = pytest.mark.skipif(
    not (SHARED / "spider").is_dir(), reason=f"Spider is not at {SHARED} (set TEXT2SQL_SHARED)"
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How many singers?", "how many  SINGERS", True),
        ("有多少个歌手？", "有 多少 个 歌手", True),
        ("Ｈow many?", "How many", True),
        ("How many singers?", "How many songs?", False),
    ],
)
def test_questions_are_compared_by_their_words(one, other, same):
    assert (normal_question(one) == normal_question(other)) is same


@pytest.mark.parametrize(
    ("one", "other", "whole", "bare"),
    [
        ("SELECT a FROM t", "select  A\nfrom T ;", True, True),
        ("SELECT a FROM t WHERE b = 'X'", 'SELECT a FROM t WHERE b = "X"', True, True),
        ("SELECT a FROM t WHERE b = 'X'", "SELECT a FROM t WHERE b = 'x'", False, True),
        ("SELECT a FROM t WHERE b > 3 -- c", "SELECT a FROM t WHERE b > 4.5", False, True),
        ("SELECT a FROM t WHERE b IN ('x', \"y\")", "SELECT a FROM t WHERE b IN ('p', 'q')", False, True),
        ('SELECT "a" FROM t', "SELECT `a` FROM t", True, True),
        ('SELECT "a" FROM t', 'SELECT "b" FROM t', False, False),
        ("SELECT a FROM t WHERE b <> 1", "SELECT a FROM t WHERE b != 1", True, True),
    ],
)
def test_sql_is_compared_without_case_and_with_or_without_literals(one, other, whole, bare):
    assert (normal_sql(one) == normal_sql(other)) is whole
    assert (bare_sql(one) == bare_sql(other)) is bare


def index(tmp_path, **options):
    rows = [
        {
            "db_id": "shop",
            "question": "How many items cost more than 5 euros in total?",
            "query": "SELECT count(*) FROM item WHERE price > 5",
        }
    ]
    (tmp_path / "dev.json").write_text(json.dumps(rows))
    return LeakIndex(read_evaluation(tmp_path / "dev.json"), **options)


@pytest.mark.parametrize(
    ("question", "sql", "db_id", "rule"),
    [
        ("how many items cost more than 5 EUROS in total", "SELECT 1", "x", "question"),
        ("Count the pricey things.", "select COUNT(*) from ITEM where price > 99", "x", "sql"),
        ("How many items cost more than 7 euros in total?", "SELECT 1", "x", "near"),
        ("What is it?", "SELECT 2", "shop", "database"),
        ("What is it?", "SELECT 2", "x", None),
    ],
)
def test_each_rule_finds_its_kind(tmp_path, question, sql, db_id, rule):
    found = index(tmp_path).find(question, sql, db_id)
    assert (found.rule if found else None) == rule
    if rule is not None:
        others = [name for name in ("question", "sql", "near", "database") if name != rule]
        if rule in ("question", "near"):
            others = [name for name in others if name not in ("question", "near")]
        assert index(tmp_path, rules=others).find(question, sql, db_id) is None
        assert found.row.where == "dev.json row 1" or rule == "database"


def test_a_database_is_known_by_its_tables_when_its_name_says_nothing(tmp_path):
    one = schema_from_ddl("CREATE TABLE item (price INT, name TEXT); CREATE TABLE b (x)")
    same = schema_from_ddl("CREATE TABLE B (X); CREATE TABLE Item (name TEXT, price REAL)")
    found = index(tmp_path, schemas=[one])
    assert found.find("What?", "SELECT 1", "other", same).rule == "database"
    assert found.find("What?", "SELECT 1", "other", schema_from_ddl("CREATE TABLE item (price INT)")) is None


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "none.json").write_text('[{"a": 1}]')
    with pytest.raises(UserError, match="no row has a question"):
        read_evaluation(tmp_path / "none.json")


@needs_spider
def test_planted_rows_of_spider_dev_are_found_and_spider_train_is_left_alone():
    """Recall at least 0.98 on each kind of planted row, under 1 % of Spider train dropped; databases do not help."""
    dev = json.loads((SHARED / "spider" / "dev.json").read_text())
    synonyms = json.loads((SHARED / "spider_syn" / "dev.json").read_text())
    leaks = LeakIndex(read_evaluation(SHARED / "spider" / "dev.json"), rules=("question", "sql", "near"))
    rng = random.Random(3)
    planted = {
        "paraphrase": [(row["SpiderSynQuestion"], row["query"]) for row in synonyms],
        "recased": [
            (f"Question number {n}?", "".join(rng.choice((c.upper(), c.lower())) for c in r["query"]))
            for n, r in enumerate(dev)
        ],
        "literals": [
            (f"Question number {n}?", re.sub(r"\b\d+\b", "77", re.sub(r"'[^']*'|\"[^\"]*\"", "'else'", r["query"])))
            for n, r in enumerate(dev)
        ],
        "words": [(r["question"].upper().replace("?", " ??"), f"SELECT {n} AS other_query") for n, r in enumerate(dev)],
    }
    for kind, rows in planted.items():
        found = sum(leaks.find(question, sql, "elsewhere") is not None for question, sql in rows)
        assert found / len(rows) >= 0.98, kind
    train = json.loads((SHARED / "spider" / "train_spider.json").read_text())
    dropped = sum(leaks.find(row["question"], row["query"], row["db_id"]) is not None for row in train)
    assert dropped / len(train) < 0.01
