"""No trick in the corpus may earn as much as an honest correct completion, under any shipped reward set."""

from collections import Counter

import pytest

from support.adversarial import load, make_bakery, make_suite, queries
from text2sql.records import RewardSample
from text2sql.rewards import REWARD_SETS, RewardContext, RewardSuite
from text2sql.rewards.text import read_reasoning

FORMAT = {"reasoning": "reasoning", "process": "process"}
ALONE = ("execution", "execution_partial", "execution_cells")
KINDS = set(
    "constant empty_equals_empty duplicated_rows keyword_stuffing copied_question comment_trick two_blocks broken_tags "
    "injection long_reasoning huge_result gold_in_reasoning luck limit hidden_constant silent_gold look_alike_tags "
    "late_answer padding nested_comment off_question idle_talk babble".split()
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = make_bakery(tmp_path_factory.mktemp("databases"))
    honest, tricks = load(root)
    with RewardContext(root, jobs=1, timeout=0.5) as context:
        yield honest, tricks, context


def test_the_corpus_is_large_and_varied(world):
    _, tricks, _ = world
    kinds = Counter(trick.kind for trick in tricks)
    assert len(tricks) >= 60
    assert set(kinds) >= KINDS
    assert len({trick.id for trick in tricks}) == len(tricks)
    assert max(len(trick.sample.completion) for trick in tricks) > 16_000


@pytest.mark.parametrize("rewards", [*REWARD_SETS, *ALONE])
def test_every_trick_earns_less_than_an_honest_answer(world, rewards):
    honest, tricks, context = world
    suite = RewardSuite([rewards], context)
    shape = FORMAT.get(rewards.removesuffix("_published"), "plain")
    fair = {question: suite.score_batch([answers[shape]]).total[0] for question, answers in honest.items()}
    paid = suite.score_batch([trick.sample for trick in tricks]).total
    gamed = {
        t.id: (round(score, 3), round(fair[t.sample.example.question_id], 3))
        for t, score in zip(tricks, paid, strict=True)
        if not score < fair[t.sample.example.question_id]
    }
    assert gamed == {}
    assert sum(suite.failures.values()) == 0


@pytest.mark.parametrize("rewards", ["reasoning", "process"])
def test_a_terse_honest_answer_still_beats_every_trick(world, rewards):
    honest, tricks, context = world
    suite = RewardSuite([rewards], context)
    terse = {}
    for question, answers in honest.items():
        sample = answers[rewards]
        tag = "reasoning" if rewards == "reasoning" else "think"
        before, _, after = sample.completion.partition(f"</{tag}>")
        short = (
            f"{before.split('>')[0]}>\nThe customers and cakes tables say so, I think it is enough.\n</{tag}>{after}"
        )
        terse[question] = suite.score_batch([RewardSample("", short, sample.example)]).total[0]
    paid = suite.score_batch([trick.sample for trick in tricks]).total
    assert [t.id for t, score in zip(tricks, paid, strict=True) if score >= terse[t.sample.example.question_id]] == []


@pytest.fixture(scope="module")
def suite_context(world, tmp_path_factory):
    """The bakery with the suite that preparation builds, judged as the GRPO recipes do by default."""
    _, _, bakery = world
    root = make_suite(tmp_path_factory.mktemp("suites"), bakery.database_root)
    with RewardContext(root, jobs=1) as context:
        yield context


def test_only_equivalent_queries_earn_the_full_execution_reward(world, suite_context):
    honest, tricks, _ = world
    suite = RewardSuite(["execution"], suite_context)
    others = list(queries(honest))
    assert len(others) > 85
    paid = suite.score_batch([trick.sample for trick in others]).total
    assert {t.id: t.sample.completion for t, score in zip(others, paid, strict=True) if score == 1.0} == {
        t.id: t.sample.completion for t in others if t.kind == "equivalent"
    }
    gamed = suite.score_batch([trick.sample for trick in tricks]).total
    assert [t.id for t, score in zip(tricks, gamed, strict=True) if score == 1.0] == []


@pytest.mark.parametrize("rewards", ["execution", "reasoning", "process", "dense"])
def test_a_wrong_result_never_earns_more_than_half_of_a_right_one(world, suite_context, rewards):
    honest, tricks, _ = world
    suite = RewardSuite([rewards], suite_context)
    bare = [RewardSample("", answers["plain"].example.sql, answers["plain"].example) for answers in honest.values()]
    least = min(suite.score_batch(bare).total)
    wrong = [*tricks, *(trick for trick in queries(honest) if trick.kind != "equivalent")]
    for trick in wrong:
        right = honest[trick.sample.example.question_id][FORMAT.get(rewards, "plain")].completion
        dressed = right.replace(trick.sample.example.sql, trick.sample.completion)
        wrong = [trick.sample, RewardSample("", dressed, trick.sample.example)]
        assert max(suite.score_batch(wrong).total) <= least / 2, trick.id


def test_every_honest_answer_earns_the_full_execution_reward(world):
    honest, _, context = world
    suite = RewardSuite(list(ALONE), context)
    for answers in honest.values():
        scores = suite.score_batch(list(answers.values()))
        assert all(score == 1.0 for result in scores.rewards.values() for score in result.scores)


def test_stuffing_and_copying_pay_less_than_reasoning_even_with_the_right_sql(world):
    honest, tricks, context = world
    suite = RewardSuite(["reasoning_quality", "thinking_quality"], context)
    for trick in tricks:
        if (
            trick.kind not in ("keyword_stuffing", "copied_question", "babble", "idle_talk")
            or "<sql>" not in trick.sample.completion
        ):
            continue
        fair = honest[trick.sample.example.question_id]
        before, _, rest = trick.sample.completion.partition("<sql>")
        righted = RewardSample(
            "", f"{before}<sql>{trick.sample.example.sql}</sql>{rest.partition('</sql>')[2]}", trick.sample.example
        )
        got, best = suite.score_batch([righted]), suite.score_batch([fair["reasoning"]])
        assert got.total[0] < best.total[0], trick.id
        most = 0.75 if trick.kind == "idle_talk" else 0.5
        assert got.rewards["reasoning_quality"].scores[0] <= most * best.rewards["reasoning_quality"].scores[0], (
            trick.id
        )


def test_long_reasoning_with_the_right_sql_earns_less_well_before_it_is_cut_off(world):
    honest, _, context = world
    suite = RewardSuite(["reasoning"], context)
    fair = honest["lyon"]["reasoning"]
    more = " ".join(f"Look at the town of person number {i} and compare it with the one asked for." for i in range(40))
    long = RewardSample("", fair.completion.replace("\n</reasoning>", f"\n{more}\n</reasoning>"), fair.example)
    assert len(long.completion) < context.max_chars
    assert suite.score_batch([long]).total[0] < suite.score_batch([fair]).total[0]


def test_honest_texts_of_both_languages_are_not_taken_for_stuffing(world):
    honest, _, context = world
    for answers in honest.values():
        sample = answers["reasoning"]
        text = context.answer(sample.completion).reasoning
        found = read_reasoning(text, sample.example.question + sample.example.schema, frozenset({"customers", "cakes"}))
        assert not found.stuffed
        assert found.steps
        assert found.terms >= 2
        assert found.lines >= 3
