"""Choosing with a reward model: weights, what is scored, revisions, and which of two answers stays."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.sqleval_files import make_database
from text2sql.errors import UserError
from text2sql.generate import Completion, Engine
from text2sql.recipe import options_from
from text2sql.records import Candidate, Example, Prediction, write_jsonl
from text2sql.select import learned, revise
from text2sql.select.candidates import ReviseOptions, SelectOptions
from text2sql.select.choose import select
from text2sql.select.vote import better, choose, weights

ROME = "SELECT name FROM customer WHERE city = 'Rome'"
OSLO = "SELECT name FROM customer WHERE city = 'Oslo'"
BROKEN = "SELECT nme FROM customer"


def row(number: int, group: int, score: float | None, standing: Any = "good") -> Candidate:
    return Candidate("q", "shop", f"SELECT {number}", "", number, group=group, standing=standing, score=score)


@pytest.mark.parametrize(
    ("way", "wins"), [("vote", "SELECT 0"), ("reward_model", "SELECT 2"), ("weighted", "SELECT 3")]
)
def test_each_way_chooses_by_its_own_rule(way: Any, wins: str) -> None:
    rows = [row(0, 0, -9.0), row(1, 0, -9.0), row(5, 0, -9.0), row(2, 1, 1.0), row(3, 2, 0.9), row(4, 2, 0.9)]
    assert choose(rows, way).pred == wins


def test_standing_comes_before_any_score() -> None:
    rows = [row(0, 0, 5.0, "failed"), row(1, 1, -3.0)]
    for way in ("vote", "reward_model", "weighted"):
        assert choose(rows, way).pred == "SELECT 1"


def test_weights_are_probabilities_up_to_a_factor_and_bear_extremes() -> None:
    first, second = weights([row(0, 0, 1000.0), row(1, 1, 999.0)], "weighted") or ()
    assert second / first == pytest.approx(0.36788, abs=1e-4)
    assert weights([row(0, 0, -1e30), row(1, 1, None)], "weighted") == [1.0, 0.0]
    assert weights([row(0, 0, 1.0)], "vote") is None


@pytest.mark.parametrize(
    ("new", "old", "stays"),
    [
        (("good", None), ("failed", None), True),
        (("failed", None), ("good", None), False),
        (("good", None), ("good", None), False),
        (("good", 2.0), ("good", 1.0), True),
        (("good", 1.0), ("good", 2.0), False),
        (("empty", 9.0), ("good", 1.0), False),
    ],
)
def test_a_revision_stays_when_it_is_better(new: Any, old: Any, stays: bool) -> None:
    assert better(row(0, 0, new[1], new[0]), than=row(1, 1, old[1], old[0])) is stays


class Scores:
    """A reward model in Scorer's place, which likes Rome and counts what it is asked."""

    asked = 0

    def __init__(self, folder: Path, batch_size: int = 32) -> None:
        assert folder.is_dir()

    def render(self, messages: Any) -> str:
        return str(messages[-1]["content"])

    def __call__(self, answers: list[tuple[str, str]]) -> list[float]:
        Scores.asked += len(answers)
        return [2.0 if "Rome" in text else 0.0 for _, text in answers]


class Reviser(Engine):
    """A model that answers every revision with Rome, and keeps what it was told."""

    name = "reviser"
    told: tuple[str, ...] = ()

    def generate(self, requests, decoding):
        Reviser.told += tuple(request.messages[-1]["content"] for request in requests)
        yield from (Completion(request.key, 0, ROME, "stop", 0, 0) for request in requests)

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SelectOptions:
    make_database(tmp_path / "database/shop/shop.sqlite")
    monkeypatch.setattr(learned, "Scorer", Scores)
    monkeypatch.setattr(revise, "open_engine", lambda how: Reviser())
    Scores.asked, Reviser.told = 0, ()
    (tmp_path / "model").mkdir()
    write_jsonl(tmp_path / "examples.jsonl", [Example(f"q{i}", "shop", "who?", "CREATE", ROME) for i in range(3)])
    samples = [Prediction(f"q{i}", "shop", sql, sql, k) for i in range(3) for k, sql in enumerate([OSLO, OSLO, ROME])]
    write_jsonl(tmp_path / "samples.jsonl", samples)
    return SelectOptions(
        examples=tmp_path / "examples.jsonl",
        predictions=[tmp_path / "samples.jsonl"],
        database_root=tmp_path / "database",
        output_dir=tmp_path / "out",
        jobs=0,
    )


def accuracies(selection: Any) -> dict[str, float]:
    return {line.name: round(line.score.accuracy, 3) for line in selection.lines}


def test_the_report_has_every_way_and_the_choice_is_the_one_asked_for(options: SelectOptions, tmp_path: Path) -> None:
    options = replace(options, reward_model=tmp_path / "model", choose="weighted")
    found = select(options)
    shares = accuracies(found)
    assert {k: v for k, v in shares.items() if k.endswith("_3")} == {
        "random_3": 0.333, "vote_3": 0, "rm_best_of_3": 1, "weighted_vote_3": 1, "oracle_3": 1,
    }  # fmt: skip
    assert [choice.pred for choice in found.choices] == [ROME] * 3
    assert Scores.asked == 6, "equal candidates of a question are scored once"
    assert accuracies(select(options)) == shares
    assert Scores.asked == 6, "scores are kept"
    note = json.loads((options.output_dir / "predictions.jsonl.meta.json").read_text())["made_of"]
    assert note["decoding_words"] == "weighted vote of 3"


def test_a_doubtful_answer_is_revised_with_what_it_gave(options: SelectOptions, tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "samples.jsonl",
        [Prediction(f"q{i}", "shop", sql, sql) for i, sql in enumerate([BROKEN, OSLO, ROME])],
    )
    options = replace(options, revise=ReviseOptions(model_name_or_path=str(tmp_path / "model"), rounds=2))
    found = select(options)
    assert [choice.pred for choice in found.choices] == [ROME, OSLO, ROME]
    assert accuracies(found)["revised_1"] == accuracies(found)["revised_2"] == 0.667
    assert len(Reviser.told) == 1 and "no such column: nme" in Reviser.told[0]
    assert found.choices[0].alternatives[0].pred == BROKEN
    assert [choice.pred for choice in select(options).choices] == [ROME, OSLO, ROME]
    assert len(Reviser.told) == 1, "revisions are kept"


def test_with_a_reward_model_every_answer_can_be_revised(options: SelectOptions, tmp_path: Path) -> None:
    how = ReviseOptions(model_name_or_path=str(tmp_path / "model"), which="all")
    found = select(replace(options, revise=how, reward_model=tmp_path / "model"))
    assert accuracies(found)["vote_3"] == 0 and accuracies(found)["revised_1"] == 1
    assert "returns 1 rows with 1 columns: name" in Reviser.told[0]


def test_what_needs_a_reward_model_says_so(options: SelectOptions) -> None:
    given = {"examples": "e", "predictions": ["p"], "database_root": "d", "output_dir": "o"}
    for keys in ({"choose": "weighted"}, {"revise": {"model_name_or_path": "m", "which": "all"}}):
        with pytest.raises(UserError, match="need a reward_model"):
            options_from(SelectOptions, {**given, **keys}, "select.yaml")
