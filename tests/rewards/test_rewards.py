"""The formulas of the rewards that read text and SQL, number by number, on a small database."""

import math
from dataclasses import replace

import pytest

from support.adversarial import scores
from text2sql.records import Example, RewardSample
from text2sql.rewards import RewardSuite
from text2sql.sql import classify, complexity


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


@pytest.mark.parametrize("question", ["count", "average"])
def test_the_process_rewards_are_the_same_in_every_form_of_answer(context, examples, question):
    gold = examples[question]
    thought = (
        "First I look for the rows that are asked for.\nThen I read what each of them says, and last I put it together."
    )
    forms = [
        process(gold.sql, classify(gold.sql).label, think=thought),
        f"<think>{thought}</think><answer>{gold.sql}</answer>",
        f"<thinking>\n{thought}\n</thinking>\n<answer>\n```sql\n{gold.sql};\n```\n</answer>",
        f"<think>{thought}</think>\n[ANSWER] {gold.sql}",
        f"<think>{thought}</think>\nSQL: {gold.sql}",
        f"<think>{thought}</think>\n```sql\n{gold.sql}\n```",
        f"<reasoning>{thought}</reasoning>\n<sql>{gold.sql}</sql>",
    ]
    totals = RewardSuite(["process"], context).score_batch([RewardSample("", form, gold) for form in forms]).total
    assert totals[0] > 0.75
    assert totals == [totals[0]] * len(forms)


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
    assert RewardSuite(["process_published"], context).weights == {
        "complexity_type": 0.2,
        "thinking_quality": 0.25,
        "self_assessment": 0.25,
        "sql_structure": 0.3,
    }
    assert RewardSuite(["reasoning"], context, weights={"soft_format": 0.0}).weights["soft_format"] == 0.0
