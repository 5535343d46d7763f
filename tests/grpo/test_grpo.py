"""The GRPO stage without training: prompts, figures, and held-out accuracy."""

import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.grpo_world import GOLD, example, make_world
from text2sql.errors import UserError
from text2sql.prompts import build_messages, gold_answer
from text2sql.records import Example, RewardSample
from text2sql.rewards import RewardContext, RewardSuite

trl = pytest.importorskip("trl")
pytest.importorskip("llamafactory")

from text2sql.grpo.heldout import RewardedHeldOut  # noqa: E402
from text2sql.grpo.hparams import read_arguments  # noqa: E402
from text2sql.grpo.scoring import Scoring, means, open_rewards  # noqa: E402
from text2sql.grpo.trainer import StepClock  # noqa: E402
from text2sql.grpo.workflow import build_prompts, to_example  # noqa: E402
from text2sql.llamafactory.heldout import Greedy, prompt_ids, spread, without_model_defaults  # noqa: E402


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grpo")
    make_world(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(world: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(world / "model")


# --- prompts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "thinking"), [("plain", False), ("plain", True), ("reasoning", False), ("process", True)]
)
def test_prompts_are_those_of_fine_tuning(answer: str, thinking: bool, tokenizer) -> None:
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments

    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="qwen3", enable_thinking=thinking))
    for i in range(6):
        system, user = build_messages(example(i).question, example(i).schema, answer=answer)
        gold = {"role": "assistant", "content": gold_answer(GOLD, answer, "Look at shops.", "sql")}
        taught, _ = template.encode_oneturn(tokenizer, [user, gold], system["content"])
        if answer == "plain" and thinking:  # there the empty thought is part of what is learnt
            assert tokenizer.decode(taught).endswith("<|im_start|>assistant\n")
        assert prompt_ids(example(i), template, tokenizer, answer) == taught
    rows = build_prompts([example(0)], template, tokenizer, answer)
    assert tokenizer(rows[0]["prompt"], add_special_tokens=False)["input_ids"] == prompt_ids(
        example(0), template, tokenizer, answer
    )
    assert json.loads(rows[0]["example"]) == example(0).columns
    (own,) = build_prompts([example(0)], template, tokenizer, answer, system_prompt="Only SQL.")
    assert own["prompt"] == rows[0]["prompt"].replace(build_messages("", "", answer=answer)[0]["content"], "Only SQL.")


def test_long_prompts_are_left_out_and_never_cut(tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments

    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="qwen3", enable_thinking=False))
    long = dataclasses.replace(example(1), schema=example(1).schema * 4)
    length = len(prompt_ids(example(0), template, tokenizer, "plain"))
    kept = build_prompts([example(0), long], template, tokenizer, "plain", length)
    assert [json.loads(text)["question_id"] for text in kept["example"]] == ["q0"]
    assert "1 of 2 prompts" in caplog.text
    with pytest.raises(UserError, match="raise cutoff_len"):
        build_prompts([long], template, tokenizer, "plain", length)


# --- figures -------------------------------------------------------------------------------------------------------


def samples(*completions: str) -> list[RewardSample]:
    return [RewardSample("prompt", text, example(i), 3) for i, text in enumerate(completions)]


def columns(*completions: str) -> dict:
    texts = [json.dumps(example(i).__dict__) for i in range(len(completions))]
    return {
        "prompts": [""] * len(texts),
        "completions": [*completions],
        "completion_ids": [[1]] * len(texts),
        "example": texts,
    }


def test_rewards_get_the_columns_and_their_figures_add_up(world: Path) -> None:
    with RewardContext(world / "db", jobs=0) as context:
        scoring = Scoring(RewardSuite(["execution", "length"], context, {"execution": 2, "length": 1}))
        assert scoring.weights == [2.0, 1.0]
        assert [f.__name__ for f in scoring.functions] == ["execution", "length"]
        assert scoring.functions[0](**columns(GOLD, "SELECT city FROM shop", "SELEC"), trainer_state=None) == [
            1.0,
            0.1,
            0.0,
        ]
        scoring.count_errors(samples(GOLD, "SELECT city FROM shop", "SELEC"))
        first = scoring.take()
        scoring.count_errors(samples(GOLD))
        found = means([first, scoring.take()])
    assert found["rewards/execution/matched"] == pytest.approx(1 / 3)
    assert found["rewards/execution/failed"] == 0
    assert found["sql/ran"] == 3 / 4
    assert found["sql/matched"] == 2 / 4
    assert found["sql/error/syntax"] == 1 / 4, "of all completions, also of batches without any such error"
    assert scoring.take() == {}


def test_a_reward_that_fails_on_one_completion_is_counted(world: Path, their_rewards: None) -> None:
    with RewardContext(world / "db", jobs=0) as context:
        scoring = Scoring(RewardSuite(["their_rewards:fragile"], context))
        assert scoring.functions[0](**columns("abc", "e", "xyz")) == [1.0, 0.0, 1.0]
        assert means([scoring.take()])["rewards/fragile/failed"] == pytest.approx(1 / 3)
        broken = Scoring(RewardSuite(["their_rewards:broken"], context))
        with pytest.raises(UserError, match=r"'broken' failed on all 2 completions.*never works"):
            broken.functions[0](**columns("a", "b"))


def test_the_clock_splits_a_step() -> None:
    clock = StepClock()
    assert clock.take() == {}
    for _ in range(2):
        clock.on_step_begin()
        with clock.measure("generation"):
            pass
        with clock.measure("reward"):
            pass
        clock.on_step_end()
    found = clock.take()
    assert found.keys() == {f"time/{part}" for part in ("step", "generation", "reward", "update", "reward_share")}
    assert found["time/step"] == pytest.approx(sum(found[f"time/{p}"] for p in ("generation", "reward", "update")))
    assert 0 < found["time/reward_share"] < 1
    assert clock.take() == {}


def test_a_slice_is_spread_evenly() -> None:
    assert spread(6, 3) == [0, 2, 4]
    assert spread(3, None) == spread(3, 9) == [0, 1, 2]
    assert spread(0, 5) == []


def test_model_defaults_are_put_aside_and_back() -> None:
    from transformers import GenerationConfig

    own = GenerationConfig(top_k=20, temperature=0.6, do_sample=True)
    model = SimpleNamespace(generation_config=own)
    with pytest.raises(ZeroDivisionError), without_model_defaults(model):
        assert model.generation_config.temperature == 1.0
        raise ZeroDivisionError
    assert model.generation_config is own
    wrapped = SimpleNamespace(get_base_model=lambda: model)
    with without_model_defaults(wrapped):
        assert model.generation_config is not own


def test_rows_of_other_formats_still_count_as_examples() -> None:
    row = example(1).__dict__ | {"messages": [{"role": "user", "content": "x"}], "evidence": None, "extra": 3}
    assert to_example(row) == Example(**{**example(1).__dict__, "evidence": ""})


def test_held_out_accuracy_is_the_evaluators(world: Path) -> None:
    with RewardContext(world / "db", jobs=0) as context:
        held_out = RewardedHeldOut([example(i) for i in range(4)], ["p"] * 4, RewardSuite(["execution"], context), 8)
        texts = [GOLD, f"<sql>{GOLD}</sql>", "SELECT city FROM shop", "SELEC"]
        found = held_out.score([Greedy(i, text, 10 * i, i == 3) for i, text in enumerate(texts)])
    assert found == {
        "execution_accuracy": 0.5,
        "executable": 0.75,
        "reward": pytest.approx((1 + 1 + 0.1 + 0) / 4),
        "completion_length": 15,
        "clipped_ratio": 0.25,
    }


def _evaluators() -> set[int]:
    """The processes of sqleval that this one has started and not ended."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return {pid for pid in map(int, children) if b"sqleval" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def test_rewards_and_held_out_accuracy_share_worker_processes(world: Path) -> None:
    ours = read_arguments({"reward_funcs": ["execution"], "database_root": str(world / "db"), "reward_jobs": 1})
    before = _evaluators()
    with open_rewards(ours) as suite:
        assert suite.context.evaluator.worker_pids() == [], "none before the first SQL, so that checks are cheap"
        suite.score_batch(samples(GOLD))
        workers = suite.context.evaluator.worker_pids()
        found = RewardedHeldOut([example(0)], ["p"], suite, 8).score([Greedy(0, "SELECT city FROM shop", 1, False)])
        assert found["execution_accuracy"] == 0
        assert len(workers) == 1
        assert suite.context.evaluator.worker_pids() == workers
        assert _evaluators() - before == set(workers)
