"""Process evaluation on completions whose every figure can be counted by hand."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from support.grpo_world import make_database
from support.tiny_model import SCHEMA
from text2sql.errors import UserError
from text2sql.evaluate.answers import EvaluateOptions
from text2sql.evaluate.process import evaluate_process
from text2sql.prompts import SYSTEMS, build_messages, parse_completion
from text2sql.records import Example, Prediction, write_jsonl
from text2sql.sql import ISSUE_RULES, MULTI_STEP, SIMPLE, find_issues, load_issues

SIMPLE_GOLD = "SELECT name FROM shop WHERE city = 'Lyon'"
NESTED = "SELECT name FROM shop WHERE id IN (SELECT shop_id FROM sale GROUP BY shop_id HAVING count(*) > 1)"


def completion(
    sql: str, kind: str = "sql", issues: str = "none", think: str = "First the table shop.\nThen name."
) -> str:
    return f"<think>\n{think}\n</think>\n\n<answer>\n<type>{kind}</type>\n<sql>{sql}</sql>\n<issues>{issues}</issues>\n</answer>"


COMPLETIONS = [
    (SIMPLE_GOLD, completion(SIMPLE_GOLD)),  # all as it should be
    (SIMPLE_GOLD, completion("SELECT name FROM shop ORDER BY name", "多步推理", "order by without limit")),
    (NESTED, completion("SELECT name, count(*) FROM shop ORDER BY name", "sql", "missing_where")),
    (NESTED, "SELEC"),
]
# What is wrong with them, by reading them: two are sorted for no reason, one of these counts without GROUP BY.
ISSUES = [[], ["order_by_without_limit"], ["missing_group_by", "order_by_without_limit"], []]


@pytest.fixture
def options(tmp_path: Path) -> EvaluateOptions:
    make_database(tmp_path / "db")
    examples = [Example(f"q{i}", "shop", "Names of shops?", SCHEMA, gold) for i, (gold, _) in enumerate(COMPLETIONS)]
    rows = [Prediction(f"q{i}", "shop", parse_completion(text), text) for i, (_, text) in enumerate(COMPLETIONS)]
    write_jsonl(tmp_path / "examples.jsonl", examples)
    write_jsonl(tmp_path / "predictions.jsonl", rows)
    return EvaluateOptions(
        examples=tmp_path / "examples.jsonl",
        predictions=tmp_path / "predictions.jsonl",
        database_root=tmp_path / "db",
        output_dir=tmp_path / "out",
        jobs=0,
    )


def test_every_metric_is_what_a_count_by_hand_gives(options: EvaluateOptions) -> None:
    report = evaluate_process(options)
    found = report["metrics"]
    assert found["execution_accuracy"] == 1 / 4
    assert found["sql_validity"] == 3 / 4
    assert found["type_accuracy"] == 1 / 4
    assert found["format_rate"] == 3 / 4
    assert 0 < found["thinking_quality"] < 1
    assert [sorted(row["issues"]) for row in report["samples"]] == ISSUES
    assert found["self_assessment"]["precision"] == 1 / 2, "two issues named, one is there"
    assert found["self_assessment"]["recall"] == 1 / 3, "three are there, one of them is named"
    assert found["self_assessment"]["f1"] == pytest.approx(2 / 5)
    assert found["issue_detection_rate"] == 1 / 2, "of two faulty answers one names an issue that it has"
    assert found["issue_rate"]["order_by_without_limit"] == 2 / 4
    assert found["complexity"]["gold_types"] == {SIMPLE: 2, MULTI_STEP: 2}
    assert found["length"]["max"] == max(len(text) for _, text in COMPLETIONS)
    wrong = report["error_analysis"]
    assert wrong["declared_for_gold_type"] == {SIMPLE: {SIMPLE: 1, MULTI_STEP: 1}, MULTI_STEP: {SIMPLE: 1, "none": 1}}
    assert wrong["execution_accuracy_by_type"] == {SIMPLE: 0.5, MULTI_STEP: 0.0}
    assert [row["question_id"] for row in wrong["wrong"]] == ["q1", "q2", "q3"]
    written = json.loads((options.output_dir / "evaluation_report.json").read_text(encoding="utf-8"))
    assert written["metrics"] == found
    assert written["summary"]["completions"] == 4


def test_without_databases_nothing_is_executed_and_the_rest_is_the_same(options: EvaluateOptions) -> None:
    with_databases = evaluate_process(options)["metrics"]
    report = evaluate_process(replace(options, database_root=None))
    assert report["metrics"] == {
        name: value for name, value in with_databases.items() if name not in ("execution_accuracy", "sql_validity")
    }
    assert report["summary"]["protocol"] == "not executed"
    assert report["metrics"]["sql_parses"] == 3 / 4
    assert list(report["error_analysis"]) == ["declared_for_gold_type"]


def test_the_report_says_how_sure_the_classification_is(options: EvaluateOptions) -> None:
    found = evaluate_process(options)["metrics"]["type_confidence"]
    # One table and a question that reads like one step: 1.0; no query at all: 0.0. "sql" is declared for q0 and q2.
    assert found == {"all": 0.75, "agreeing": 1.0, "disagreeing": 0.5}


PLUGIN = """
from text2sql.sql import issue

@issue("shouting", severity=0.3, alias="大写")
def shouting(statement, question, schema):
    return statement.sql.isupper()
"""


def test_issues_of_a_module_reach_prompt_metrics_and_rewards(
    options: EvaluateOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_issues.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "no_issues.py").write_text("x = 1", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(SYSTEMS, "process", SYSTEMS["process"])  # put back at the end
    try:
        rows = [Prediction("q0", "shop", "SELECT NAME FROM SHOP", completion("SELECT NAME FROM SHOP", issues="大写"))]
        write_jsonl(options.predictions, rows)
        given = replace(options, limit=1, issues=["my_issues"])
        found = evaluate_process(given)
        assert found["metrics"]["issue_rate"] == {"shouting": 1.0}
        assert found["metrics"]["self_assessment"]["f1"] == 1.0
        system = build_messages("q", "s", answer="process")[0]["content"]
        assert "order_by_without_limit, shouting. Answer as" in system
        load_issues(["my_issues"])
        assert build_messages("q", "s", answer="process")[0]["content"] == system, "named once"
        for module, why in (("no_issues", "registers none"), ("not_there", "cannot import")):
            with pytest.raises(UserError, match=why):
                load_issues([module])
    finally:
        ISSUE_RULES.pop("shouting", None)
        find_issues.cache_clear()


def test_the_command_prints_and_complains_in_one_line(options: EvaluateOptions, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    keys = ("examples", "predictions", "database_root", "output_dir")
    recipe.write_text("".join(f"{key}: {getattr(options, key)}\n" for key in keys) + "jobs: 0\n", encoding="utf-8")
    command = [sys.executable, "-m", "text2sql.evaluate", "process", str(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "self_assessment f1" in done.stdout
    done = subprocess.run([*command, "predictions=none.jsonl"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "none.jsonl" in done.stderr


def test_missing_predictions_are_refused(options: EvaluateOptions) -> None:
    options.predictions.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="4 of 4 questions have no prediction"):
        evaluate_process(options)
