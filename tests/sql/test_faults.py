"""Issues on SQL as people write it: gold queries of Spider have nearly none, and queries that look faulty but are right none."""

import json
import os
from pathlib import Path

import pytest

from text2sql.schema import open_readonly, read_schema, render_ddl
from text2sql.sql import equivalent, find_issues, read_statement


def test_gold_sql_of_spider_has_nearly_no_issues():
    shared = Path(os.environ.get("TEXT2SQL_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "spider"
    if not (shared / "dev.json").is_file():
        pytest.skip(f"needs Spider under {shared} (set TEXT2SQL_SHARED)")
    rows = json.loads((shared / "dev.json").read_text(encoding="utf-8"))[::3]
    schemas = {}
    for db_id in {row["db_id"] for row in rows}:
        db = open_readonly(shared / "database" / db_id / f"{db_id}.sqlite")
        schemas[db_id] = render_ddl(read_schema(db))
        db.close()
    found = [row for row in rows if find_issues(row["query"], row["question"], schemas[row["db_id"]])]
    assert len(found) <= 0.01 * len(rows)
    assert all(equivalent(row["query"], row["query"]) for row in rows[:50])


@pytest.mark.parametrize(
    ("name", "sql", "question"),
    [
        ("missing_join_condition", 'SELECT count(*) FROM shop AS a JOIN sale AS b WHERE b.city = "Rome"', ""),
        (
            "missing_join_condition",
            "SELECT a.x FROM shop AS a JOIN sale AS b WHERE b.n < (SELECT avg(n) FROM sale)",
            "",
        ),
        ("missing_time_range", "SELECT name FROM shop", "Which shops were opened in the last year?"),
        ("missing_where", "SELECT name FROM shop", "Which shops have at least three sales?"),
    ],
)
def test_faults_that_are_easily_overlooked(name, sql, question):
    assert name in [found.name for found in find_issues(sql, question)]


@pytest.mark.parametrize(
    ("sql", "question"),
    [
        ("SELECT CAST(sum(kind = 'gold') AS REAL) / count(*) FROM card", "What share of the cards is 'gold'?"),
        ("SELECT sum(iif(city = 'Rome', n, 0)) FROM sale", "How much was sold in 'Rome'?"),
        ("SELECT DISTINCT name FROM shop JOIN sale ON shop.id = sale.shop_id", "Which shops have at least one sale?"),
        ("SELECT max(day) FROM sale", "When is the last day on which anything was sold?"),
        ("SELECT first_year, last_year FROM party", "Show the first year and last year of each party."),
        ("SELECT t.jan FROM weather AS t", "Give me the temperature in January."),
        ("SELECT city FROM shop GROUP BY city", "List each city's shops' city."),
        ("SELECT name FROM shop ORDER BY opened", "Names of shops listed by the day they opened."),
        ("SELECT name FROM shop ORDER BY opened DESC", "Shops from the most recent to the oldest."),
    ],
)
def test_right_queries_that_look_faulty(sql, question):
    assert [found.name for found in find_issues(sql, question)] == []


@pytest.mark.parametrize("joins", [" JOIN t" * 30, (" JOIN t" * 7 + " ON 1") * 4, " LEFT JOIN t" * 30])
def test_joins_that_keep_the_parser_busy_for_hours_have_no_tree(joins: str) -> None:
    assert read_statement("SELECT 1 FROM t" + joins).tree is None
    assert read_statement("SELECT 1 FROM t" + " JOIN t ON 1" * 20 + " NATURAL JOIN t" * 20).tree is not None
