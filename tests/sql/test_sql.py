"""Classes, complexity and issues of SQL text, and that gold SQL is clean."""

import pytest

from text2sql.errors import UserError
from text2sql.prompts import SYSTEMS
from text2sql.sql import (
    ISSUE_RULES,
    MULTI_STEP,
    SIMPLE,
    check_classification,
    classify,
    complexity,
    equivalent,
    find_issues,
    issue,
    read_statement,
)

SCHEMA = (
    "CREATE TABLE stadium (stadium_id INTEGER PRIMARY KEY, name TEXT, capacity INTEGER);\n"
    "CREATE TABLE concert (concert_id INTEGER PRIMARY KEY, title TEXT, stadium_id INTEGER REFERENCES stadium(stadium_id),"
    " year TEXT, held_on DATE);\n"
    "CREATE TABLE singer (singer_id INTEGER PRIMARY KEY, name TEXT, age INTEGER);"
)
SEVERITIES = {
    "missing_where": 0.3,
    "missing_time_range": 0.4,
    "incorrect_join": 0.5,
    "missing_join_condition": 0.45,
    "inconsistent_alias": 0.25,
    "missing_group_by": 0.35,
    "unclosed_parenthesis": 0.8,
    "empty_in_clause": 0.7,
    "invalid_date_format": 0.5,
    "multiple_tables_no_join": 0.4,
    "order_by_without_limit": 0.2,
}


def names(sql, question="", schema=SCHEMA):
    return [found.name for found in find_issues(sql, question, schema)]


@pytest.mark.parametrize(
    ("sql", "label"),
    [
        ("SELECT name FROM singer WHERE age > 3 ORDER BY age LIMIT 1", SIMPLE),
        ("SELECT count(*) FROM concert JOIN stadium USING (stadium_id) GROUP BY name", SIMPLE),
        ("SELECT count(*) FROM concert, stadium WHERE concert.stadium_id = stadium.stadium_id", SIMPLE),
        ("SELECT a FROM t JOIN u ON t.x = u.x JOIN v ON v.y = u.y", MULTI_STEP),
        ("WITH c AS (SELECT 1 AS a) SELECT a FROM c", MULTI_STEP),
        ("SELECT a FROM t UNION SELECT b FROM u", MULTI_STEP),
        ("SELECT a FROM t INTERSECT SELECT b FROM u", MULTI_STEP),
        ("SELECT name FROM singer WHERE age > (SELECT avg(age) FROM singer)", MULTI_STEP),
        ("SELECT name FROM singer WHERE name IN (SELECT name FROM stadium)", MULTI_STEP),
        ("SELECT 'JOIN JOIN UNION (SELECT' FROM singer -- WITH c AS (SELECT 1)", SIMPLE),
        ("SELECT (name FROM singer JOIN a JOIN b", MULTI_STEP),
        ("SELECT (name FROM singer", SIMPLE),
        ("hello world", ""),
        ("", ""),
    ],
)
def test_classes(sql, label):
    assert classify(sql).label == label
    assert classify(sql).reasons


def test_complexity_counts_the_tree():
    assert complexity("SELECT a FROM t") == 1.0
    assert complexity("SELECT a FROM t WHERE x = 'JOIN UNION (SELECT'") == pytest.approx(1.2)
    assert complexity("SELECT a FROM t JOIN u ON t.x = u.x") == pytest.approx(1.6)
    assert complexity("SELECT x, count(*) FROM t GROUP BY x HAVING count(*) > 1 ORDER BY x LIMIT 3") == pytest.approx(
        1 + 0.6 + 0.5 + 0.7 + 0.3 + 0.1
    )
    assert complexity("SELECT a FROM t WHERE x > (SELECT avg(x) FROM t)") == pytest.approx(1 + 1.0 + 0.2 + 0.3)
    assert complexity("SELECT a FROM t UNION SELECT a FROM u") == pytest.approx(1.8)
    assert complexity("SELECT (a FROM t JOIN u") == pytest.approx(1.6)
    assert complexity("") == 0.0


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        (
            "missing_where",
            ("SELECT name FROM singer", "Names of singers older than 30?"),
            ("SELECT name FROM singer WHERE age > 30", "Names of singers older than 30?"),
        ),
        ("missing_where", ("DELETE FROM singer", ""), ("DELETE FROM singer WHERE age = 3", "")),
        (
            "missing_where",
            ("SELECT name FROM singer", "年龄大于30岁的歌手叫什么？"),
            ("SELECT name FROM singer", "列出所有歌手。"),
        ),
        (
            "missing_time_range",
            ("SELECT title FROM concert", "Which concerts were held in 2014?"),
            ("SELECT title FROM concert WHERE year = '2014'", "Which concerts were held in 2014?"),
        ),
        (
            "missing_time_range",
            ("SELECT title FROM concert WHERE stadium_id = 2", "上个月举办了哪些音乐会？"),
            ("SELECT title FROM concert WHERE held_on >= date('now', '-1 month')", "上个月举办了哪些音乐会？"),
        ),
        (
            "missing_time_range",
            ("SELECT count(* FROM concert", "How many concerts were there last year?"),
            ("SELECT title FROM concert", "List all concerts."),
        ),
        (
            "incorrect_join",
            ("SELECT 1 FROM stadium AS a JOIN concert AS b ON a.name = b.title", ""),
            ("SELECT 1 FROM stadium AS a JOIN concert AS b ON a.stadium_id = b.stadium_id", ""),
        ),
        (
            "incorrect_join",
            ("SELECT 1 FROM stadium AS a JOIN concert AS b ON a.capacity = a.stadium_id", ""),
            ("SELECT 1 FROM stadium AS a JOIN singer AS b ON a.name = b.name", ""),
        ),
        (
            "incorrect_join",
            ("SELECT 1 FROM stadium JOIN concert ON 1 = 1", ""),
            ("SELECT 1 FROM stadium NATURAL JOIN concert", ""),
        ),
        (
            "missing_join_condition",
            ("SELECT 1 FROM stadium JOIN concert", ""),
            ("SELECT 1 FROM stadium JOIN concert USING (stadium_id)", ""),
        ),
        (
            "missing_join_condition",
            ("SELECT (1 FROM stadium JOIN concert", ""),
            ("SELECT 1 FROM stadium AS a JOIN concert AS b WHERE a.stadium_id = b.stadium_id", ""),
        ),
        ("inconsistent_alias", ("SELECT stadium.name FROM stadium AS a", ""), ("SELECT a.name FROM stadium AS a", "")),
        (
            "inconsistent_alias",
            ("SELECT a.name FROM stadium AS a JOIN concert AS a ON a.stadium_id = a.stadium_id", ""),
            (
                "SELECT name FROM stadium AS s WHERE EXISTS (SELECT 1 FROM concert AS c WHERE c.stadium_id = s.stadium_id)",
                "",
            ),
        ),
        (
            "missing_group_by",
            ("SELECT name, count(*) FROM singer", ""),
            ("SELECT name, count(*) FROM singer GROUP BY name", ""),
        ),
        ("missing_group_by", ("SELECT name FROM singer HAVING age > 3", ""), ("SELECT name, max(age) FROM singer", "")),
        (
            "missing_group_by",
            ("SELECT name, avg(age) + 1 FROM singer", ""),
            ("SELECT name, avg(age) OVER () FROM singer", ""),
        ),
        (
            "unclosed_parenthesis",
            ("SELECT count(* FROM singer", ""),
            ("SELECT count(*) FROM singer WHERE name = '('", ""),
        ),
        ("unclosed_parenthesis", ("SELECT count(*)) FROM singer", ""), ("SELECT count(*) FROM singer -- (", "")),
        (
            "empty_in_clause",
            ("SELECT 1 FROM singer WHERE age IN ()", ""),
            ("SELECT 1 FROM singer WHERE age IN (3)", ""),
        ),
        (
            "empty_in_clause",
            ("SELECT (1 FROM singer WHERE age NOT IN ( )", ""),
            ("SELECT 1 FROM singer WHERE name = 'IN ()'", ""),
        ),
        (
            "invalid_date_format",
            ("SELECT 1 FROM concert WHERE held_on > '2014-02-30'", ""),
            ("SELECT 1 FROM concert WHERE held_on > '2014-02-28'", ""),
        ),
        (
            "invalid_date_format",
            ("SELECT 1 FROM concert WHERE held_on = '03/04/2014'", ""),
            ("SELECT 1 FROM concert WHERE title = '03/04/2014'", ""),
        ),
        (
            "invalid_date_format",
            ("SELECT 1 FROM concert WHERE date(title) BETWEEN '2014.1.1' AND '2014.2.1'", ""),
            ("SELECT 1 FROM concert WHERE held_on > '2014-02-28 10:00:00'", ""),
        ),
        (
            "multiple_tables_no_join",
            ("SELECT 1 FROM singer, stadium", ""),
            ("SELECT 1 FROM singer, stadium WHERE singer.name = stadium.name", ""),
        ),
        (
            "multiple_tables_no_join",
            ("SELECT 1 FROM singer, stadium WHERE singer.age > 3", ""),
            ("SELECT 1 FROM singer CROSS JOIN stadium", ""),
        ),
        (
            "order_by_without_limit",
            ("SELECT name FROM singer ORDER BY age", ""),
            ("SELECT name FROM singer ORDER BY age LIMIT 1", ""),
        ),
        (
            "order_by_without_limit",
            ("SELECT name FROM singer ORDER BY age", "Who is the oldest singer?"),
            ("SELECT name FROM singer ORDER BY age", "List the singers sorted by age."),
        ),
        (
            "order_by_without_limit",
            ("SELECT (name FROM singer ORDER BY age", ""),
            ("SELECT name FROM singer ORDER BY age DESC", "按年龄从大到小列出歌手。"),
        ),
    ],
)
def test_each_issue_is_found_and_only_there(name, bad, good):
    assert name in names(*bad)
    assert name not in names(*good)


def test_the_registry_has_the_published_severities_and_the_prompt_names_them_all():
    assert {name: ISSUE_RULES[name].severity for name in SEVERITIES} == SEVERITIES
    assert set(SEVERITIES) <= set(ISSUE_RULES)
    assert all(name in SYSTEMS["process"] for name in SEVERITIES)
    assert all(rule.alias for rule in ISSUE_RULES.values())


def test_users_add_issues():
    sql = "SELECT * FROM singer WHERE age > 3"
    assert names(sql) == []

    @issue("selects_everything", severity=0.4)
    def selects_everything(statement, question, schema):
        return "*" in statement.words()

    try:
        assert [(i.name, i.severity) for i in find_issues(sql)] == [("selects_everything", 0.4)]
        with pytest.raises(UserError, match="registered already"):
            issue("selects_everything", severity=0.4)
    finally:
        ISSUE_RULES.pop("selects_everything")
        find_issues.cache_clear()
    assert names(sql) == []
    with pytest.raises(UserError, match="severity is above 0"):
        issue("harmless", severity=0.0)


def test_the_meta_classifier_checks_a_claim():
    sure = check_classification("SELECT name FROM singer", "sql", "List all singers.")
    assert (sure.label, sure.agrees, sure.confidence) == (SIMPLE, True, 1.0)
    nested = check_classification("SELECT name FROM singer WHERE name IN (SELECT name FROM stadium)", "sql")
    assert not nested.agrees
    assert any("border" in reason for reason in nested.reasons)
    deep = check_classification(
        "SELECT a FROM t JOIN u ON t.x=u.x JOIN v ON v.x=u.x WHERE a > (SELECT avg(a) FROM t)", "多步推理"
    )
    assert deep.agrees
    assert nested.confidence < deep.confidence
    unparsed = check_classification("SELECT (name FROM singer", "simple")
    assert unparsed.agrees
    assert unparsed.confidence < sure.confidence
    assert check_classification("no query", "sql").confidence == 0.0
    doubtful = check_classification("SELECT name FROM singer", "sql", "Which singers are above the average age?")
    assert doubtful.confidence < sure.confidence
    assert any("question" in reason for reason in doubtful.reasons)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            "SELECT name FROM singer WHERE age > 3 AND name = 'x'",
            "select T1.NAME from Singer as T1 where 'x' = t1.name and age > 3",
            True,
        ),
        (
            "SELECT T1.a, T2.b FROM t AS T1 JOIN u AS T2 ON T1.x = T2.y",
            "SELECT t.a, u.b FROM t JOIN u ON u.y = t.x",
            True,
        ),
        ("SELECT count(*) AS n FROM t", "SELECT count(*) FROM t", True),
        ("SELECT a FROM t WHERE b IN (1, 2)", "SELECT a FROM t WHERE b IN (2, 1)", True),
        ("SELECT a FROM t WHERE b = 'X'", "SELECT a FROM t WHERE b = 'x'", False),
        ("SELECT a FROM t", "SELECT b FROM t", False),
        ("SELECT a - b FROM t", "SELECT b - a FROM t", False),
        ("SELECT a FROM t WHERE x OR y AND z", "SELECT a FROM t WHERE (x OR y) AND z", False),
        (
            "SELECT T1.a FROM t AS T1 JOIN t AS T2 ON T1.x = T2.y",
            "SELECT T2.a FROM t AS T1 JOIN t AS T2 ON T1.x = T2.y",
            False,
        ),
        ("SELECT (a", "SELECT (a", False),
    ],
)
def test_equivalence(one, other, same):
    assert equivalent(one, other) is same
    assert equivalent(other, one) is same


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'abc",
        'SELECT "',
        "(" * 5000,
        "SELECT " + "1+" * 9000 + "1",
        "\x00",
        "\ud800",
        "SELECT 1; SELECT 2",
        "PRAGMA x",
        "/* open",
        "选择",
    ],
)
def test_no_text_raises(sql):
    statement = read_statement(sql)
    assert statement.kind in ("select", "other", "unparsed")
    (
        classify(sql),
        complexity(sql),
        names(sql, "In 2014, whose?"),
        check_classification(sql, "sql"),
        equivalent(sql, sql),
    )
