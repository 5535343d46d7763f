"""Values of every kind that LLaMA-Factory's classes have; tests/train/test_train.py has the mistakes."""

from pathlib import Path

import pytest

from text2sql.errors import UserError
from text2sql.llamafactory.arguments import check_arguments, known_arguments

WHERE = Path("recipes/tiny/lora_qv_sft.yaml")


def test_values_of_every_kind_are_accepted() -> None:
    known = known_arguments("train")
    check_arguments(
        {"report_to": "tensorboard", "lora_target": "all", "deepspeed": None, "max_steps": 300}, known, WHERE
    )
    assert check_arguments({"eval_strategy": False}, known, WHERE) == {"eval_strategy": "no"}
    with pytest.raises(UserError, match="no such key"):
        check_arguments({"xyzzy": 1}, known, WHERE)
