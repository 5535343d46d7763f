"""The bakery database with its examples, for the tests of formulas."""

import pytest

from support.adversarial import load, make_bakery
from text2sql.rewards import RewardContext


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
