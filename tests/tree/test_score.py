"""How well a reward model orders pairs: accuracy by kind, calibration, and the ledger row."""

import json
from pathlib import Path
from typing import Any

import pytest

from text2sql.errors import UserError
from text2sql.ledger import read as read_ledger
from text2sql.records import write_jsonl
from text2sql.tree import score
from text2sql.tree.options import ScoreOptions
from text2sql.tree.score import calibration, calibration_error, score_pairs


class Lengths:
    """A reward model in Scorer's place that likes long queries."""

    def __init__(self, folder: Path, batch_size: int = 32) -> None:
        assert batch_size == 4

    def render(self, messages: Any) -> str:
        return str(messages[-1]["content"])

    def __call__(self, answers: list[tuple[str, str]]) -> list[float]:
        return [float(len(text)) for _, text in answers]


def pair(chosen: str, rejected: str, difficulty: str, gap: str) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "who?"}],
        "chosen": {"role": "assistant", "content": chosen},
        "rejected": {"role": "assistant", "content": rejected},
        "difficulty": difficulty,
        "gap": gap,
    }


def test_accuracy_overall_by_hardness_and_by_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "Scorer", Lengths)
    rows = [
        pair("aaa", "a", "easy", "inf"),
        pair("aa", "a", "easy", "1"),
        pair("a", "aa", "hard", "1"),
        pair("a", "b", "hard", "inf"),
    ]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    options = ScoreOptions(
        pairs=tmp_path / "pairs.jsonl", reward_model=tmp_path, output_dir=tmp_path / "out", batch_size=4,
        experiment="toy.reward_model", profile="tiny", seed=7, ledger=tmp_path / "ledger.jsonl",
    )  # fmt: skip
    report = score_pairs(options)
    assert (report["overall"]["n"], report["overall"]["accuracy"]) == (4, 0.5), "a tie is not in order"
    assert report["overall"]["low"] < 0.5 < report["overall"]["high"]
    assert {kind: found["accuracy"] for kind, found in report["by_difficulty"].items()} == {"easy": 1.0, "hard": 0.0}
    assert {kind: found["accuracy"] for kind, found in report["by_gap"].items()} == {"1": 0.5, "inf": 0.5}
    (row,) = read_ledger(tmp_path / "ledger.jsonl")
    assert (row.metrics["pairwise_accuracy"], row.metrics["accuracy_gap_inf"], row.seed, row.n) == (0.5, 0.5, 7, 4)
    assert json.loads((tmp_path / "out/reward_report.json").read_text()) == report
    assert (tmp_path / "out/calibration.png").stat().st_size > 1000


def test_calibration_compares_what_the_model_says_with_what_happens() -> None:
    sure = calibration([5.0] * 9 + [-5.0])
    assert [(part["low"], part["n"], part["accuracy"]) for part in sure] == [(0.95, 10, 0.9)]
    assert calibration_error(sure) == pytest.approx(abs(1 / (1 + 2.718281828**-5) - 0.9), abs=1e-6)
    assert calibration_error(calibration([1000.0] * 3)) == 0
    assert sum(part["n"] for part in calibration([0.0, 0.1, -0.5, 1.0, 2.0, -3.0])) == 6


def test_no_pairs_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text("", encoding="utf-8")
    options = ScoreOptions(pairs=tmp_path / "pairs.jsonl", reward_model=tmp_path, output_dir=tmp_path / "out")
    with pytest.raises(UserError, match="no pairs in it"):
        score_pairs(options)
