"""The formulas of the rewards that run SQL, number by number, on a small database."""

import pytest

from support.adversarial import scores
from text2sql.records import Example, RewardSample
from text2sql.rewards import RewardContext, RewardSuite


def test_execution_pays_one_a_tenth_and_nothing(context, examples):
    got = scores(
        "execution",
        context,
        examples["lyon"],
        "SELECT T.name FROM customers T WHERE T.city='Lyon'",
        "SELECT city FROM customers",
        "SELECT x",
        "",
    )
    assert got == [1.0, 0.1, 0.0, 0.0]
    assert scores("execution", context, examples["lyon"], "SELECT city FROM customers", runs=0.0) == [0.0]


def test_execution_uses_every_instance_of_the_suite(context, examples, root):
    lucky = "SELECT count(*) FROM cakes"  # as many as customers on the first instance only
    assert scores("execution", context, examples["count"], lucky) == [0.1]
    with RewardContext(root, protocol="spider-exec", jobs=0) as single:
        assert scores("execution", single, examples["count"], lucky) == [1.0]


def test_empty_results_pay_only_for_an_equivalent_query(context, examples):
    same = "select T1.name from Customers as T1 where 'Atlantis' = T1.CITY"
    assert scores("execution", context, examples["atlantis"], same, "SELECT name FROM customers WHERE 1 = 0") == [
        1.0,
        0.1,
    ]
    assert scores("execution", context, examples["zero"], "SELECT count(*) FROM orders WHERE quantity < 0") == [0.1]


def test_a_constant_query_matches_only_a_constant_gold(context, examples):
    gold = Example("c", "bakery", "What is two and two?", "", "SELECT 4")
    assert scores("execution", context, gold, "SELECT 2 + 2") == [1.0]
    assert scores("execution", context, examples["count"], "SELECT 4") == [0.1]


def test_execution_partial_follows_the_published_steps(context, examples):
    example = examples["lyon"]
    got = scores(
        "execution_partial",
        context,
        example,
        "SELECT name FROM customers WHERE city = 'Lyon'",
        "SELECT name FROM customers",  # 2 of 4 rows: 0.5 x 2/4 = 0.25 < 0.3
        "SELECT name FROM customers WHERE city <> 'Ghent'",  # 2 of 3 rows: 0.5 x 2/3
        "SELECT price FROM cakes",  # no common column
        "SELECT name FROM customers JOIN orders USING (customer_id) JOIN customers AS c2",  # ambiguous
        "SELECT nom FROM customers",
        "SELECT name FROM clients",
        "SELECT name FROM",
        "SELECT nofunction(name) FROM customers",
        "DELETE FROM customers",
    )
    assert got == pytest.approx([1.0, 0.3, 1 / 3, 0.3, 0.2, 0.1, 0.0, 0.0, 0.05, 0.0])


def test_execution_partial_counts_duplicates_and_needs_evidence(context, examples):
    twice = "SELECT name FROM customers WHERE city = 'Lyon' UNION ALL SELECT name FROM customers WHERE city = 'Lyon'"
    assert scores("execution_partial", context, examples["lyon"], twice) == [0.3]  # 0.5 x 2/4, not 0.5 x 2/2
    assert scores("execution_partial", context, examples["atlantis"], "SELECT name FROM customers WHERE 1 = 0") == [0.1]


def test_execution_partial_judges_writes_by_what_they_leave_behind(root, context, examples):
    gold = Example("w", "bakery", "Raise all prices", examples["lyon"].schema, "UPDATE cakes SET price = price + 1")
    got = scores(
        "execution_partial",
        context,
        gold,
        "UPDATE cakes SET price = 1 + price",
        "UPDATE cakes SET price = 0",
        "DELETE FROM cakes",
        "UPDATE cake SET price = 0",
    )
    assert got == [1.0, 0.5, 0.0, 0.0]
    with RewardContext(root, jobs=0) as fresh:
        assert scores("execution", fresh, examples["average"], examples["average"].sql) == [1.0]  # nothing was written


def test_execution_partial_corrects_the_spelling_of_identifiers(tmp_path):
    import sqlite3

    (tmp_path / "mass").mkdir()
    db = sqlite3.connect(tmp_path / "mass" / "mass.sqlite")
    db.executescript("CREATE TABLE Größe (wert INTEGER); INSERT INTO Größe VALUES (1);")
    db.close()
    gold = Example("g", "mass", "Set all to 2", "CREATE TABLE Größe (wert INTEGER);", "UPDATE Größe SET wert = 2")
    with RewardContext(tmp_path, jobs=0) as context:
        assert scores(
            "execution_partial", context, gold, "UPDATE GRÖßE SET wert = 2", "UPDATE Groesse SET wert = 2"
        ) == [0.4, 0.0]


def test_execution_cells_averages_precision_recall_and_cardinality(context, examples):
    example = examples["lyon"]
    suite = RewardSuite(["execution_cells"], context)
    wide = RewardSample("", "SELECT name, city FROM customers WHERE city = 'Lyon'", example)
    more = RewardSample("", "SELECT name FROM customers", example)
    less = RewardSample("", "SELECT name FROM customers WHERE city = 'Lyon' LIMIT 1", example)
    got = suite.score_batch([wide, more, less]).rewards["execution_cells"]
    assert got.scores == pytest.approx(
        [(2 / 4 + 2 / 2 + 2 / 2) / 3, (2 / 4 + 2 / 2 + 2 / 4) / 3, (1 + 1 / 2 + 1 / 2) / 3]
    )
    assert got.components == {
        "precision": [0.5, 0.5, 1.0],
        "recall": [1.0, 1.0, 0.5],
        "cardinality": [1.0, 0.5, 0.5],
    }
    assert scores("execution_cells", context, examples["sorted"], "SELECT cake_name FROM cakes ORDER BY price") == [0.9]
    assert scores("execution_cells", context, example, "SELECT count(*) FROM cakes", "SELECT 'Ana'") == [0.0, 0.1]


def test_timeouts_end_and_score_nothing(root, examples):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with RewardContext(root, jobs=1, timeout=0.2) as context:
        suite = RewardSuite(["execution", "execution_partial", "execution_cells"], context)
        got = suite.score_batch(
            [RewardSample("", endless, examples["count"]), RewardSample("", examples["count"].sql, examples["count"])]
        )
        assert got.total[0] == 0.0
        assert got.rewards["execution"].components["error/timeout"] == [1.0, 0.0]
        assert got.rewards["execution"].scores[1] == 1.0
