"""``text2sql benchmark`` against a server that answers by a script: what is measured, left out, compared and taken up again."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.judge_server import Say, Server, serve
from support.sqleval_files import make_database
from text2sql.benchmark.options import BenchmarkOptions
from text2sql.benchmark.page import read_rivals, write_report
from text2sql.benchmark.run import Result, benchmark
from text2sql.errors import UserError
from text2sql.ledger import read as read_ledger
from text2sql.recipe import load_recipe, options_from
from text2sql.records import Example, write_jsonl

ROOT = Path(__file__).parents[2]
GOLD = {
    "Who lives in Rome?": "SELECT name FROM customer WHERE city = 'Rome'",
    "What was bought?": "SELECT DISTINCT item FROM purchase",
}
WRONG = "SELECT name FROM customer WHERE city = 'Oslo'"


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    """A recipe's keys: one set that is there with a suite, and two that are not."""
    make_database(tmp_path / "database/shop/shop.sqlite")
    make_database(tmp_path / "suite/shop/shop.sqlite")
    rows = [
        Example(str(i), "shop", q, "CREATE TABLE customer (name TEXT);", sql, split="dev")
        for i, (q, sql) in enumerate(GOLD.items())
    ]
    write_jsonl(tmp_path / "dev.jsonl", rows)
    roots = {
        "spider-exec": str(tmp_path / "database"),
        "spider-test-suite": str(tmp_path / "suite"),
        "bird-ves": str(tmp_path / "none"),
    }
    shop = {"title": "Shop", "examples": str(tmp_path / "dev.jsonl"), "protocols": roots}
    gone = {"title": "Gone", "examples": str(tmp_path / "gone.jsonl"), "protocols": roots}
    unmade = {
        **gone,
        "prepare": {
            "recipe": "recipes/data/spider_dk.yaml",
            "overrides": [f"output={tmp_path}/out", f"folder={tmp_path}/no"],
        },
    }
    return {
        "model_name_or_path": "wise",
        "engine": "openai",
        "output_dir": str(tmp_path / "first"),
        "samples": 3,
        "sets": {"shop": shop, "gone": gone, "unmade": unmade},
    }


def script(greedy: str, sampled: str):
    """The first answer to each question is ``greedy``, the following ones are right or ``sampled``."""

    def answer(question: str, number: int) -> Say:
        text = greedy if number == 0 else sampled
        return Say(f"```sql\n{text or GOLD[question]}\n```")

    return answer


def run(keys: dict[str, Any], server: Server) -> dict[tuple[str, str], Result]:
    options = options_from(BenchmarkOptions, {**keys, "base_urls": [server.url]}, "recipe")
    outcome = benchmark(options)
    assert write_report(options, outcome).is_file()
    assert set(outcome.skipped) <= {"shop, bird-ves", "gone", "unmade"}
    return {(result.way, result.protocol): result for result in outcome.results}


def test_greedy_and_vote_by_each_protocol_and_nothing_twice(
    keys: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    ledger = tmp_path / "ledger.jsonl"
    keys |= {"experiment": "toy.trial", "profile": "tiny", "ledger": str(ledger)}
    with serve(script(WRONG, ""), list(GOLD)) as server:
        found = run(keys, server)
        asked = sum(map(len, server.chats.values()))
        assert found["greedy", "spider-exec"].report.overall.accuracy == 0.0
        assert found["vote_3", "spider-exec"].report.overall.accuracy == 1.0
        assert found["vote_3", "spider-test-suite"].report.overall.accuracy == 1.0
        rows = {row.experiment: row for row in read_ledger(ledger)}
        assert set(rows) == {
            f"toy.trial.shop.{way}{more}" for way in ("greedy", "vote_3") for more in ("", ".spider_test_suite")
        }
        assert rows["toy.trial.shop.vote_3"].metrics["execution_accuracy"] == 1.0
        run(keys, server)
        assert sum(map(len, server.chats.values())) == asked
        assert len(read_ledger(ledger)) == len(rows)
    page = (tmp_path / "first/benchmark.html").read_text(encoding="utf-8")
    assert "no databases at" in page
    assert "100.0" in page


def test_two_runs_are_compared_on_the_same_questions(
    keys: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with serve(script(WRONG, WRONG), list(GOLD)) as server:
        run({**keys, "samples": 0}, server)
    with serve(script("", ""), list(GOLD)) as server:
        better = {**keys, "samples": 0, "output_dir": str(tmp_path / "second"), "against": str(tmp_path / "first")}
        paired = run(better, server)["greedy", "spider-exec"].paired
        assert paired is not None
        assert (paired.first, paired.second, paired.difference, paired.only_second) == (0.0, 1.0, 1.0, 2)
        with pytest.raises(UserError, match="answers other questions"):
            run({**better, "limit": 1, "output_dir": str(tmp_path / "third")}, server)


def test_one_line_says_what_is_wrong(keys: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'\.\./Shop' names folders"):
        options_from(BenchmarkOptions, {**keys, "sets": {"../Shop": keys["sets"]["shop"]}}, "recipe")
    with pytest.raises(UserError, match="no set is called 'shp'"):
        options_from(BenchmarkOptions, {**keys, "only": ["shp"]}, "recipe")
    with pytest.raises(UserError, match=r"no set of the recipe is there: gone: .*not there"):
        benchmark(options_from(BenchmarkOptions, {**keys, "only": ["gone"]}, "recipe"))
    with pytest.raises(UserError, match="nowhere is not there"), serve(script("", ""), list(GOLD)) as server:
        run({**keys, "samples": 0, "against": str(tmp_path / "nowhere")}, server)


@pytest.mark.parametrize("profile", ["qwen3_1p7b", "tiny"])
def test_recipes_name_the_sets_of_the_published_figures(profile: str) -> None:
    path = ROOT / f"recipes/{profile}/benchmark.yaml"
    options = options_from(BenchmarkOptions, load_recipe(path, []), str(path))
    named = {(name, protocol) for name, test in options.sets.items() for protocol in test.protocols}
    assert {(rival.set, rival.protocol) for rival in read_rivals()} <= named
    for test in options.sets.values():
        assert test.prepare is not None
        values = load_recipe(ROOT / test.prepare.recipe, test.prepare.overrides)
        assert test.examples.parts[:3] == Path(values["output"]).parts


def test_graded_protocols_report_grades(keys: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    keys["sets"]["shop"]["protocols"] = {
        "bird-ex": str(tmp_path / "database"),
        "bird-soft-f1": str(tmp_path / "database"),
        "bird-ves": str(tmp_path / "database"),
    }
    half = "SELECT name FROM customer WHERE id = 1"  # one of two rows
    with serve(lambda question, number: Say(half if "Rome" in question else GOLD[question]), list(GOLD)) as server:
        found = run({**keys, "samples": 0}, server)
    assert found["greedy", "bird-ex"].report.overall.accuracy == 0.5
    assert found["greedy", "bird-soft-f1"].report.overall.accuracy == pytest.approx((2 / 3 + 1) / 2)
    ves = found["greedy", "bird-ves"].report.overall
    assert 0 < ves.low <= ves.accuracy <= ves.high
    report = json.loads((tmp_path / "first/benchmark.json").read_text(encoding="utf-8"))
    assert [row["protocol"] for row in report["results"]] == ["bird-ex", "bird-soft-f1", "bird-ves"]
