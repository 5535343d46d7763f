"""The shipped rewards' formulas, number by number, on a small database."""

import math
from dataclasses import replace

import pytest

from support.adversarial import load, make_bakery
from text2sql.records import Example, RewardSample
from text2sql.rewards import RewardContext, RewardSuite
from text2sql.sql import complexity


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_bakery(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="module")
def context(root):
    with RewardContext(root, jobs=1, timeout=1.0) as context:
        yield context


@pytest.fixture(scope="module")
def examples(root):
    honest, _ = load(root)
    return {question: answers["plain"].example for question, answers in honest.items()}


def scores(name, context, example, *completions, **params):
    suite = RewardSuite([name], context, params={name: params} if params else None)
    return suite.score(name, [RewardSample("", c, example) for c in completions]).scores


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


def test_soft_format_wants_the_two_tags_once(context, examples):
    good = "<reasoning>because</reasoning>\n\n<sql>SELECT 1</sql>"
    bad = [
        "SELECT 1",
        "<sql>SELECT 1</sql><reasoning>because</reasoning>",
        good + good,
        "<reasoning></reasoning><sql>SELECT 1</sql>",
        "<reasoning>x</reasoning><sql>SELECT 1",
    ]
    assert scores("soft_format", context, examples["lyon"], good, f"Well. {good} Done.", *bad) == [1.0, 1.0, *[0.0] * 5]


def test_sql_complexity_is_the_published_curve(context, examples):
    gold, sql = examples["average"], "SELECT cake_name FROM cakes"
    ratio = complexity(sql) / complexity(gold.sql)
    assert scores("sql_complexity", context, gold, sql, gold.sql) == pytest.approx(
        [math.exp(-0.5 * math.log(ratio) ** 2), 1.0]
    )
    unknown = Example("u", "bakery", "?", "", "")
    assert scores("sql_complexity", context, unknown, gold.sql, "SELECT name FROM customers", "SELEC") == [
        0.4,
        0.1,
        0.0,
    ]
    assert scores(
        "sql_complexity", context, gold, "SELECT cake_name FROM cakes -- JOIN JOIN UNION (SELECT"
    ) == pytest.approx([math.exp(-0.5 * math.log(ratio) ** 2)])


def test_reasoning_quality_adds_up_its_parts(context, examples):
    suite = RewardSuite(["reasoning_quality"], context)
    text = "First we look at the homes of people.\nThen we keep those of the city of Lyon that was asked for."
    one = RewardSample(
        "",
        f"<reasoning>\n{text}\n</reasoning>\n<sql>SELECT name FROM customers WHERE city = 'Lyon'</sql>",
        examples["lyon"],
    )
    got = suite.score_batch([one]).rewards["reasoning_quality"]
    parts = {name: values[0] for name, values in got.components.items()}
    assert parts == pytest.approx({"length": 0.10, "terms": 0.0, "structure": 0.10, "steps": 0.15, "mentions": 0.05})
    assert got.scores == pytest.approx([0.40])
    elsewhere = replace(one, completion=one.completion.replace(" of Lyon", ""))
    assert suite.score_batch([elsewhere]).total == pytest.approx([0.7 * 0.40 / 2]), (
        "it takes up nothing of the question"
    )


def test_chinese_reasoning_is_understood(context, examples):
    text = "首先，这个问题需要的信息都在表 customers 里。\n然后用条件过滤，只保留 city 是里昂的那些行。\n最后选择 name 这一列作为查询的结果返回。"
    sql = "SELECT name FROM customers WHERE city = 'Lyon'"
    quality = scores(
        "reasoning_quality", context, examples["lyon"], f"<reasoning>\n{text}\n</reasoning>\n<sql>{sql}</sql>"
    )[0]
    assert quality >= 0.7
    process = f"<think>\n{text}\n</think>\n<answer>\n<type>简单查询</type>\n<sql>{sql}</sql>\n<issues>没有问题</issues>\n</answer>"
    suite = RewardSuite(["process"], context)
    got = {n: r.scores[0] for n, r in suite.score_batch([RewardSample("", process, examples["lyon"])]).rewards.items()}
    assert got["complexity_type"] == got["self_assessment"] == got["sql_structure"] == 1.0
    assert got["thinking_quality"] >= 0.7


def process(sql, kind="sql", issues="none", think="First the table, then its rows, and last the columns."):
    return f"<think>{think}</think><answer><type>{kind}</type><sql>{sql}</sql><issues>{issues}</issues></answer>"


def test_complexity_type_checks_claim_gold_and_own_sql(context, examples):
    gold = examples["average"]
    simple = "SELECT cake_name FROM cakes"
    completions = [
        process(gold.sql, "多步推理"),
        process(gold.sql, "multi-step"),
        process(gold.sql, "sql"),
        process(simple, "多步推理"),
        gold.sql,
    ]
    assert scores("complexity_type", context, gold, *completions) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_self_assessment_is_f1_and_capped_for_wrong_sql(context, examples):
    wrong = "SELECT count(*), name FROM customers ORDER BY name"  # missing_group_by, order_by_without_limit
    suite = RewardSuite(["self_assessment"], context)
    both, one, none = (
        process(wrong, issues=i) for i in ("missing_group_by; order_by_without_limit", "缺少GROUP BY", "none")
    )
    got = suite.score_batch(
        [
            RewardSample("", c, examples["count"])
            for c in (
                both,
                one,
                none,
                process("SELECT count(*) FROM customers", issues="missing_where"),
                process("SELECT count(*) FROM customers"),
            )
        ]
    )
    assert got.rewards["self_assessment"].scores == [0.5, 0.5, 0.0, 0.0, 1.0]
    assert got.rewards["self_assessment"].components == {
        "precision": [1.0, 1.0, 0.0, 0.0, 1.0],
        "recall": [1.0, 0.5, 0.0, 0.0, 1.0],
    }


def test_self_assessment_of_matching_sql_is_the_f1_itself(context, examples):
    sql = f"{examples['lyon'].sql} ORDER BY name"  # order_by_without_limit
    claims = ("order_by_without_limit", "order_by_without_limit, missing_where", "missing_where", "none")
    got = scores("self_assessment", context, examples["lyon"], *(process(sql, issues=claim) for claim in claims))
    assert got == pytest.approx([1.0, 2 / 3, 0.0, 0.0])


def test_sql_structure_takes_severities_off(context, examples):
    tidy, untidy = (
        "SELECT name FROM customers WHERE city = 'Lyon'",
        "SELECT name FROM customers WHERE city = 'Lyon' ORDER BY name",
    )
    completions = [
        process(tidy),
        process(untidy),
        process("SELECT city FROM customers WHERE city = 'Lyon'"),
        process("SELECT (name FROM customers"),
    ]
    assert scores("sql_structure", context, examples["lyon"], *completions) == pytest.approx([1.0, 0.8, 0.5, 0.0])


def test_schema_linking_is_the_mean_of_two_f1(context, examples):
    gold = examples["lyon"]
    got = scores(
        "schema_linking",
        context,
        gold,
        gold.sql,
        "SELECT name FROM customers",
        "SELECT price FROM cakes -- name city customers",
        "SELEC",
    )
    assert got == pytest.approx([1.0, (1 + 2 / 3) / 2, 0.0, 0.0])


def test_length_is_the_soft_overlong_penalty(context, examples):
    suite = RewardSuite(["length"], context, params={"length": {"max_tokens": 100, "soft_tokens": 20}})
    samples = [RewardSample("", "x", examples["lyon"], tokens=n) for n in (10, 80, 90, 100, 500)]
    assert suite.score_batch(samples).rewards["length"].scores == pytest.approx([0.0, 0.0, -0.5, -1.0, -1.0])


def test_weights_multiply_and_sets_carry_their_own(context, examples):
    sample = [RewardSample("", "SELECT city FROM customers", examples["lyon"])]
    assert RewardSuite(["execution"], context, weights=[3.0]).score_batch(sample).total == pytest.approx([0.3])
    assert RewardSuite(["process"], context).weights == {
        "complexity_type": 0.2,
        "thinking_quality": 0.25,
        "self_assessment": 0.25,
        "sql_structure": 0.3,
    }
    assert RewardSuite(["reasoning"], context, weights={"soft_format": 0.0}).weights["soft_format"] == 0.0


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
