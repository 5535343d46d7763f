"""Evaluations and checkpoints that would never happen are named before the start."""

import logging
from pathlib import Path

import pytest

from text2sql.errors import UserError
from text2sql.train.schedule import check_best_model, warn_about_steps

WHERE = Path("mine.yaml")
BEST = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 50}


@pytest.mark.parametrize("change", [{"save_steps": 100}, {"save_steps": 50}, {"save_steps": 0.5, "eval_steps": 0.1}])
def test_the_best_model_can_be_loaded(change: dict) -> None:
    check_best_model(BEST | change, WHERE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"save_steps": 75}, "they are 75 and 50; set save_steps=100"),
        ({"save_steps": 20}, "set save_steps=50"),
        ({"save_steps": 25, "eval_steps": None, "logging_steps": 10}, "they are 25 and 10"),
        ({"save_strategy": "epoch"}, "eval_strategy is steps and save_strategy epoch; make them the same"),
        ({"eval_strategy": "no"}, "eval_strategy is no"),
    ],
)
def test_a_best_model_that_has_no_checkpoint_is_refused(change: dict, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        check_best_model(BEST | change, WHERE)
    assert "\n" not in str(caught.value)
    check_best_model(BEST | change | {"load_best_model_at_end": False}, WHERE)


def test_what_never_happens_is_said(caplog: pytest.LogCaptureFixture) -> None:
    recipe = BEST | {"save_steps": 100}
    with caplog.at_level(logging.WARNING):
        warn_about_steps(recipe, 213)
        warn_about_steps(recipe, None)
        warn_about_steps(recipe | {"eval_steps": 0.2, "save_steps": 0.2}, 3)
        warn_about_steps({"save_strategy": "no", "eval_strategy": "epoch", "eval_steps": 50}, 3)
    assert not caplog.messages
    with caplog.at_level(logging.WARNING):
        warn_about_steps(recipe, 53)
        warn_about_steps(recipe, 27)
    assert [message.partition(" before its end")[0] for message in caplog.messages] == [
        "this training has 53 steps and never saves",
        "this training has 27 steps and never evaluates",
        "this training has 27 steps and never saves",
    ]
    assert caplog.messages[1].endswith("for eval_steps is 50; set eval_steps=27 or less")
