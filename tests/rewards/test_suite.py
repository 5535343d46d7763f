"""Registry, parameters, and what happens when a reward or a row is wrong."""

import logging

import pytest

from support.adversarial import load, make_bakery
from text2sql.errors import UserError
from text2sql.records import Example, RewardSample
from text2sql.rewards import REWARDS, RewardContext, RewardResult, RewardSuite, reward

EXAMPLE = Example("q1", "bakery", "How many?", "", "SELECT count(*) FROM customers")


@pytest.fixture
def context(tmp_path):
    with RewardContext(make_bakery(tmp_path), jobs=0) as context:
        yield context


@pytest.fixture
def register():
    """Register a reward for one test."""
    made = []

    def add(name, function, **options):
        reward(name, **options)(function)
        made.append(name)

    yield add
    for name in made:
        REWARDS.pop(name, None)


def samples(*completions):
    return [RewardSample("", text, EXAMPLE) for text in completions]


def test_a_function_of_ten_lines_is_a_reward(context, register):
    register("short", lambda samples, limit=10: [float(len(s.completion) < limit) for s in samples])
    assert RewardSuite(["short"], context, params={"short": {"limit": 3}}).score_batch(samples("ab", "abcd")).total == [
        1.0,
        0.0,
    ]


def test_a_class_with_context_parameters_and_components(context, register):
    class Matches:
        def __init__(self, context, scale):
            self.context, self.scale = context, scale

        def score_batch(self, samples):
            judged = self.context.judge(samples)
            return RewardResult([self.scale * j.matched for j in judged], {"ran": [float(j.ran) for j in judged]})

    register("matches", Matches)
    got = RewardSuite(["matches"], context, params={"matches": {"scale": 5}}).score_batch(
        samples(EXAMPLE.sql, "SELECT 1")
    )
    assert got.total == [5.0, 0.0]
    assert got.rewards["matches"].components == {"ran": [1.0, 1.0]}


def test_a_dotted_path_needs_no_registration(context, tmp_path, monkeypatch):
    (tmp_path / "my_rewards_module.py").write_text(
        "def shout(samples):\n    return [float(s.completion.isupper()) for s in samples]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    suite = RewardSuite(["my_rewards_module:shout", "execution"], context, weights={"shout": 2.0})
    assert suite.score_batch(samples("SELECT 1", "select 1")).total == pytest.approx([2.1, 0.1])


@pytest.mark.parametrize(
    ("names", "weights", "params", "message"),
    [
        (["executoin"], None, None, "did you mean 'execution'.*known: complexity_type, execution, execution_cells"),
        (["no_such_pkg:thing"], None, None, "cannot import no_such_pkg"),
        (["math:nothing"], None, None, "no function or class 'nothing'"),
        ([], None, None, "at least one"),
        (["execution", "execution"], None, None, "named twice"),
        (["execution"], [1.0, 2.0], None, "2 weights for 1 rewards"),
        (["execution"], {"length": 1.0}, None, "'length' is not among"),
        (["execution"], {"execution": float("nan")}, None, "is a number"),
        (["execution"], {"execution": "much"}, None, "is a number"),
        (["execution"], None, {"length": {}}, "'length' is not among"),
        (["length"], None, {"length": {"limit": 3}}, "no parameter 'limit'; known: max_tokens, soft_tokens"),
        (["length"], None, {"length": {"context": 3}}, "no parameter 'context'"),
        (["reward_model"], None, {"reward_model": {"scorer": "no_such_pkg:f"}}, "scorer .* cannot import no_such_pkg"),
        (["reward_model"], None, {"reward_model": {"scorer": "math"}}, "write package.module:name"),
        (["reward_model"], None, None, "give reward_params: {reward_model: {model"),
        (
            ["reward_model"],
            None,
            {"reward_model": {"scorer": "math:nothing"}},
            "reward_model: scorer 'math:nothing': math has no function",
        ),
    ],
)
def test_mistakes_in_a_recipe_are_named(context, names, weights, params, message):
    with pytest.raises(UserError, match=message):
        RewardSuite(names, context, weights, params)


def test_a_name_is_taken_once(register):
    register("mine", lambda samples: [])
    with pytest.raises(UserError, match="registered already"):
        reward("mine")(test_a_name_is_taken_once)


def test_a_reward_that_executes_needs_databases():
    with pytest.raises(UserError, match="set database_root"):
        RewardSuite(["execution"], RewardContext())
    with pytest.raises(UserError, match="no such folder"):
        RewardContext("/nowhere")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example("row7", "bakery", "?", "", " "), "row row7: no gold SQL"),
        (Example("row8", "", "?", "", "SELECT 1"), "row row8: no db_id"),
        (Example("row9", "atlantis", "?", "", "SELECT 1"), "row row9: .*atlantis.sqlite: no such database"),
    ],
)
def test_a_row_that_lacks_something_is_named(context, example, message):
    with pytest.raises(UserError, match=message):
        RewardSuite(["execution"], context).score_batch([RewardSample("", "SELECT 1", example)])


def test_one_failure_scores_zero_and_is_counted_and_logged(context, register, caplog):
    def fragile(samples):
        return [1.0 / (s.completion != "bad") for s in samples]

    register("fragile", fragile)
    suite = RewardSuite(["fragile"], context)
    with caplog.at_level(logging.WARNING):
        got = suite.score_batch(samples("good", "bad", "good"))
    assert got.total == [1.0, 0.0, 1.0]
    assert suite.failures == {"fragile": 1}
    assert "reward fragile failed on row q1" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert suite.score_batch(samples("bad")).total == [0.0]  # alone in its batch, but the reward is known to work
    assert suite.failures == {"fragile": 2}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "1"])
def test_a_score_that_is_no_number_counts_as_a_failure(context, register, value):
    register("odd", lambda samples: [value if s.completion == "bad" else 1.0 for s in samples])
    suite = RewardSuite(["odd"], context)
    assert suite.score_batch(samples("good", "bad")).total == [1.0, 0.0]
    assert suite.failures == {"odd": 1}


def test_a_reward_that_fails_on_all_ends_the_run(context, register):
    register("broken", lambda samples: [1 / 0])
    register("always_nan", lambda samples: [float("nan")] * len(samples))
    for name, reason in (("broken", "ZeroDivisionError"), ("always_nan", "it returned nan")):
        suite = RewardSuite([name], context)
        with pytest.raises(UserError, match=f"reward '{name}' failed on all 2 completions; on row q1: .*{reason}"):
            suite.score_batch(samples("a", "b"))
        with pytest.raises(UserError, match="failed on all 1"):
            suite.score_batch(samples("a"))


def test_a_wrong_count_is_named(context, register):
    register("miscounts", lambda samples: [1.0])
    register("misparts", lambda samples: RewardResult([1.0, 1.0], {"part": [1.0]}))
    with pytest.raises(UserError, match="'miscounts' returned 1 scores for 2 completions"):
        RewardSuite(["miscounts"], context).score_batch(samples("a", "b"))
    with pytest.raises(UserError, match="'misparts' returned 1 part for 2 completions"):
        RewardSuite(["misparts"], context).score_batch(samples("a", "b"))


def test_a_reward_model_is_any_scorer(context, tmp_path, monkeypatch):
    (tmp_path / "my_scorer_module.py").write_text("def score(pairs):\n    return [len(c) / 10 for _, c in pairs]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    suite = RewardSuite(["reward_model"], context, params={"reward_model": {"scorer": "my_scorer_module:score"}})
    assert suite.score_batch(samples("12345")).total == [0.5]


def test_equal_completions_are_judged_once(context, monkeypatch):
    honest, _ = load(context.database_root)
    suite = RewardSuite(["reasoning"], context)
    asked = []
    judge = context._evaluator.score_batch
    monkeypatch.setattr(context._evaluator, "score_batch", lambda items: asked.extend(items) or judge(items))
    sample = honest["lyon"]["reasoning"]
    assert len(set(suite.score_batch([sample] * 16).total)) == 1
    suite.score_batch([sample] * 4)
    assert len(asked) == 1
