"""``text2sql select``: which answer wins, that hostile and slow candidates lose quietly, and that a stopped run goes on."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.sqleval_files import make_database
from text2sql.errors import UserError
from text2sql.ledger import read as read_ledger
from text2sql.recipe import load_recipe, options_from
from text2sql.records import Candidate, Choice, Example, Prediction, write_jsonl
from text2sql.select.candidates import SelectOptions, read_candidates
from text2sql.select.choose import select
from text2sql.select.run import Runner
from text2sql.select.vote import chosen, ranked

ROOT = Path(__file__).parents[2]
ROME = "SELECT name FROM customer WHERE city = 'Rome'"
SAME = "SELECT c.name FROM customer AS c WHERE c.city = 'Rome' ORDER BY c.id"
OSLO = "SELECT name FROM customer WHERE city = 'Oslo'"
EMPTY = "SELECT name FROM customer WHERE age > 1000"
NULLS = "SELECT max(age), NULL FROM customer WHERE age > 1000"
UNSTORED = "SELECT count(*) FROM customer WHERE city = 'rome'"
BROKEN = "SELECT nme FROM customer"
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
HANGING = "SELECT instr(printf('%.1000000c', 'a'), printf('%.500000c', 'a') || 'b')"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_database(tmp_path / "database/shop/shop.sqlite")
    return tmp_path / "database"


def rows(*sqls: str, logprobs: list[float | None] | None = None) -> list[Candidate]:
    known = logprobs or [None] * len(sqls)
    return [Candidate("q", "shop", sql, "", i, known[i]) for i, sql in enumerate(sqls)]


def winner(root: Path, *sqls: str, **settings: Any) -> str:
    with Runner(root, jobs=1, timeout=1.0, **settings) as runner:
        return chosen(ranked(runner.run([rows(*sqls)])[0])).pred


@pytest.mark.parametrize(
    ("sqls", "wins"),
    [
        ((OSLO, ROME, SAME), ROME),  # equal results are one answer, whatever their texts
        ((OSLO, ROME), OSLO),  # a tie: the first
        ((BROKEN, BROKEN, BROKEN, OSLO), OSLO),
        ((EMPTY, EMPTY, NULLS, NULLS, NULLS, OSLO), OSLO),
        ((UNSTORED, UNSTORED, OSLO), OSLO),
        ((EMPTY, UNSTORED), UNSTORED),
        ((BROKEN, BROKEN, EMPTY), EMPTY),
        ((BROKEN, "DROP TABLE customer", ""), BROKEN),
        (("SELECT name FROM customer WHERE city = 'O''Hare \"x\"'", 'SELECT "it\'s"', OSLO, OSLO), OSLO),
    ],
)
def test_the_best_standing_then_the_most_votes_then_the_first_wins(
    root: Path, sqls: tuple[str, ...], wins: str
) -> None:
    assert winner(root, *sqls) == wins


def test_without_values_an_unstored_literal_counts_as_any_other(root: Path) -> None:
    assert winner(root, UNSTORED, UNSTORED, OSLO, values=False) == UNSTORED


def test_order_counts_where_most_candidates_ask_for_it(root: Path) -> None:
    up, down = (f"SELECT name FROM customer WHERE age > 0 ORDER BY age {way}, id" for way in ("ASC", "DESC"))
    plain = "SELECT name FROM customer WHERE age > 0"
    assert winner(root, up, down, down) == down
    assert winner(root, "SELECT id FROM customer", plain, up) == plain


def test_log_probability_decides_a_tie_and_which_text_is_shown() -> None:
    known = rows("a", "b", "c", "d", logprobs=[-3.0, -1.0, None, -2.0])
    placed = [replace(row, group=group, standing="good") for row, group in zip(known, (0, 0, 1, 1), strict=True)]
    choice = chosen(ranked(placed))
    assert choice.pred == "b"
    assert choice.share == 0.5
    assert [(other.pred, other.share) for other in choice.alternatives] == [("d", 0.5)]


def test_weights_take_the_place_of_counts() -> None:
    placed = [replace(row, group=row.sample // 2, standing="good") for row in rows("a", "b", "c")]
    assert chosen(ranked(placed)).pred == "a"
    assert chosen(ranked(placed, [0.1, 0.2, 0.9])).pred == "c"
    assert chosen(ranked(placed, [0.0, 0.0, 0.0])).pred == "a"


@pytest.mark.parametrize(
    "bad", [ENDLESS, HANGING, "SELECT zeroblob(2000000000)", "ATTACH 'x' AS y", "(" * 5000, "\0", "SELECT 1;" * 9]
)
def test_hostile_candidates_lose_and_harm_nothing(root: Path, bad: str) -> None:
    before = (root / "shop/shop.sqlite").read_bytes()
    start = time.monotonic()
    assert winner(root, bad, bad, OSLO) == OSLO or bad.startswith("SELECT 1")
    assert time.monotonic() - start < 8
    assert (root / "shop/shop.sqlite").read_bytes() == before
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["shop.sqlite"]


def test_fuzzed_instances_tell_apart_what_agrees_by_chance(tmp_path: Path, root: Path) -> None:
    chance = "SELECT name FROM customer WHERE id IN (1, 3)"
    question = [chance, chance, SAME, ROME, ROME, "SELECT 99999999999999999999, 0x7f, 007"]
    with Runner(root, jobs=1) as runner:
        assert len({row.group for row in runner.run([rows(*question[:5])])[0]}) == 1
    options = prepared(tmp_path, root, question, instances=4)
    selection = select(options)
    assert selection.choices[0].pred == SAME
    assert selection.choices[0].share == 0.5
    made = sorted(path.name for path in (options.output_dir / "instances/shop").glob("*.sqlite"))
    assert made == [f"fuzzed_{k}.sqlite" for k in range(4)]


def prepared(tmp_path: Path, root: Path, sqls: list[str], gold: str = ROME, **keys: Any) -> SelectOptions:
    examples = [Example(f"q{i}", "shop", "who?", "", gold) for i in range(3)]
    write_jsonl(tmp_path / "examples.jsonl", examples)
    samples = [Prediction(e.question_id, "shop", sql, "", i) for e in examples for i, sql in enumerate(sqls)]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(vars(row)) + "\n" for row in samples), encoding="utf-8")
    keys = {"predictions": [path], "output_dir": tmp_path / "out", "jobs": 1, "timeout": 1.0, **keys}
    return SelectOptions(examples=tmp_path / "examples.jsonl", database_root=root, **keys)


def test_report_choices_and_ledger(tmp_path: Path, root: Path) -> None:
    options = prepared(
        tmp_path, root, [OSLO, OSLO, ROME, SAME, "SELECT nam FROM customer WHERE city = 'rome'"],
        experiment="toy.select", profile="tiny", ledger=tmp_path / "ledger.jsonl",
    )  # fmt: skip
    (tmp_path / "greedy.sql").write_text(f"{ROME}\tshop\n" * 3, encoding="utf-8")
    found = select(replace(options, greedy=tmp_path / "greedy.sql"))
    shares = {line.name: line.score.accuracy for line in found.lines}
    assert shares.pop("random_5") == pytest.approx(0.4)
    shares = {name: share for name, share in shares.items() if not name.startswith("random")}
    assert shares == {"greedy": 1, "vote_1": 1, "oracle_1": 1, "vote_2": 0, "oracle_2": 1, "vote_4": 1, "oracle_4": 1, "vote_5": 1, "oracle_5": 1}  # fmt: skip
    rows = read_ledger(tmp_path / "ledger.jsonl")
    assert [row.experiment for row in rows] == [f"toy.select.{line.name}" for line in found.lines]
    assert rows[1].metrics["execution_accuracy"] == 0
    assert (options.output_dir / "choices.png").stat().st_size > 1000
    written = [json.loads(line) for line in (options.output_dir / "predictions.jsonl").read_text().splitlines()]
    assert [row["pred"] for row in written] == [ROME] * 3
    assert written[0]["share"] == 0.5
    assert {other["pred"] for other in written[0]["alternatives"]} == {
        OSLO,
        "SELECT nam FROM customer WHERE city = 'rome'",
    }


def test_repair_gives_a_vote_back_and_the_raw_score_is_beside(tmp_path: Path, root: Path) -> None:
    lower = ROME.replace("Rome", "rome")
    options = prepared(tmp_path, root, [OSLO, lower, lower], repair=True)
    found = select(options)
    assert found.choices[0].pred == ROME
    assert found.choices[0].raw == lower
    assert found.choices[0].repairs
    vote = next(line for line in found.lines if line.name == "vote_3")
    assert vote.raw is not None
    assert (vote.score.accuracy, vote.raw.accuracy) == (1, 0)


def test_no_gold_takes_part_in_choosing(tmp_path: Path, root: Path) -> None:
    with_gold = select(prepared(tmp_path, root, [OSLO, ROME, SAME], gold=OSLO)).choices
    without = select(prepared(tmp_path, root, [OSLO, ROME, SAME], gold="", score=False)).choices
    assert with_gold == without
    with pytest.raises(UserError, match="no gold SQL"):
        select(prepared(tmp_path, root, [OSLO], gold=""))


def test_a_stopped_run_goes_on_and_a_finished_one_runs_nothing(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = prepared(tmp_path, root, [OSLO, ROME, SAME])
    whole = select(options).choices
    path = options.output_dir / "candidates.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text("".join(text.splitlines(keepends=True)[:4]) + '{"question_id": "q1", "db', encoding="utf-8")
    asked: list[int] = []
    real = Runner.run

    def counting(self: Runner, questions: list[list[Candidate]], *rest: Any) -> list[list[Candidate]]:
        asked.append(len(questions))
        return real(self, questions, *rest)

    monkeypatch.setattr(Runner, "run", counting)
    assert select(options).choices == whole
    assert path.read_text(encoding="utf-8") == text
    assert select(options).choices == whole
    assert asked == [2]


def test_what_does_not_fit_together_is_one_line(tmp_path: Path, root: Path) -> None:
    options = prepared(tmp_path, root, [OSLO, ROME])
    (tmp_path / "two.sql").write_text(f"{OSLO}\n{OSLO}\n", encoding="utf-8")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    for keys, said in (
        ({"predictions": [tmp_path / "two.sql"]}, "2 lines for 3 examples"),
        ({"predictions": [tmp_path / "empty.jsonl"]}, "needs the same number of answers"),
        ({"greedy": tmp_path / "samples.jsonl"}, "needs one answer"),
        ({"predictions": [tmp_path / "none.sql"]}, "no such predictions"),
    ):
        with pytest.raises(UserError, match=said):
            read_candidates(replace(options, **keys))
    with pytest.raises(UserError, match="no such folder of databases"):
        select(replace(options, database_root=tmp_path / "none"))


def test_choices_are_predictions_that_can_be_scored(tmp_path: Path, root: Path) -> None:
    from text2sql.evaluate.answers import EvaluateOptions
    from text2sql.evaluate.score import evaluate

    lower = ROME.replace("Rome", "rome")
    options = prepared(tmp_path, root, [lower, lower, OSLO], repair=True)
    select(options)
    keys = {"examples": options.examples, "database_root": root, "jobs": 1}
    predictions = options.output_dir / "predictions.jsonl"
    report = evaluate(EvaluateOptions(**keys, predictions=predictions, output_dir=tmp_path / "scored"))
    assert report.decoding == "vote of 3 after repair"
    assert report.raw is not None
    assert (report.overall.accuracy, report.raw.accuracy, report.repaired) == (1, 0, 3)


def test_evaluation_repairs_by_key(tmp_path: Path, root: Path) -> None:
    from text2sql.evaluate.answers import EvaluateOptions
    from text2sql.evaluate.score import evaluate

    options = prepared(tmp_path, root, [ROME.replace("Rome", "rome")])
    keys = {"examples": options.examples, "database_root": root, "jobs": 1, "predictions": options.predictions[0]}
    plain = evaluate(EvaluateOptions(**keys, output_dir=tmp_path / "plain"))
    mended = evaluate(EvaluateOptions(**keys, output_dir=tmp_path / "mended", repair=True))
    assert (plain.overall.accuracy, plain.raw) == (0, None)
    assert mended.raw is not None
    assert (mended.overall.accuracy, mended.raw.accuracy) == (1, 0)
    verdict = json.loads((tmp_path / "mended/verdicts.jsonl").read_text().splitlines()[0])
    assert verdict["raw_correct"] is False and "'Rome'" in verdict["repairs"][0]


def test_the_twins_say_the_same_of_how_and_every_key_is_known() -> None:
    tiny, large = (load_recipe(ROOT / f"recipes/{name}/select.yaml", []) for name in ("tiny", "qwen3_1p7b"))
    assert tiny.keys() == large.keys()
    assert {key: tiny[key] for key in ("values", "repair", "instances", "jobs")} == {
        key: large[key] for key in ("values", "repair", "instances", "jobs")
    }
    for recipe in (tiny, large):
        options = options_from(SelectOptions, recipe, "select.yaml")
        assert [str(getattr(options, key)) for key in ("greedy", "output_dir")] == [
            recipe["greedy"],
            recipe["output_dir"],
        ]
    with pytest.raises(UserError, match="ledger rows need a profile"):
        options_from(SelectOptions, {**tiny, "experiment": "toy.select", "profile": ""}, "select.yaml")


def test_a_choice_says_what_it_is_and_nothing_that_is_not_known(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [Choice("q", "shop", OSLO, share=1.0)])
    row = json.loads((tmp_path / "a.jsonl").read_text())
    assert "logprob" not in row and "raw" not in row
