"""A reward model of stage rm as a classifier: the same scores, whichever program gives them."""

import json
from itertools import chain
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.tiny_model import QUESTIONS, SCHEMA, make_adapter, make_model
from text2sql.checkpoint.value_head import HEAD, HeadOptions, convert_head
from text2sql.errors import UserError
from text2sql.prompts import build_messages
from text2sql.recipe import load_recipe, options_from
from text2sql.records import Example, RewardSample
from text2sql.rewards import RewardContext, RewardSuite
from text2sql.rewards.learned import Scorer

ROOT = Path(__file__).parents[2]
ANSWERS = [
    "SELECT count(*) FROM shop",
    "SELECT name FROM shop WHERE city = 'Lyon' ORDER BY name",
    "SELECT",
    "SELECT 1 " * 20,
]
PAIRS = [{"messages": build_messages(question, SCHEMA), "answers": ANSWERS} for question in QUESTIONS[:2]]


def make_checkpoint(folder: Path, model: Path, bias: float = 0.0) -> Path:
    """What stage rm writes: an adapter, and a value head beside it."""
    config = make_adapter(folder, model) / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "task_type": "CAUSAL_LM"}))  # as training does
    draw = torch.Generator().manual_seed(3)
    head = {
        "v_head.summary.weight": torch.randn(1, 128, generator=draw) / 8,
        "v_head.summary.bias": torch.tensor([bias]),
    }
    save_file(head, folder / HEAD)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("reward") / "base")


@pytest.fixture(scope="module")
def converted(base: Path) -> HeadOptions:
    checkpoint = make_checkpoint(base.parent / "checkpoint", base)
    options = HeadOptions(checkpoint=checkpoint, model_name_or_path=base, output_dir=base.parent / "converted")
    convert_head(options)
    return options


def by_llamafactory(base: Path, checkpoint: Path) -> list[float]:
    """Scores as LLaMA-Factory's stage rm computes them: its tokens by its template, its model, the value at the last token."""
    from llamafactory.data.template import TEMPLATES
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import AutoModelForCausalLMWithValueHead

    tokenizer = AutoTokenizer.from_pretrained(base)
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(checkpoint))
    model = AutoModelForCausalLMWithValueHead.from_pretrained(adapted).eval()
    model.load_state_dict(load_file(checkpoint / HEAD), strict=False)
    template = TEMPLATES["qwen3"]
    template.enable_thinking = False
    found = []
    for pair in PAIRS:
        system, user = (message["content"] for message in pair["messages"])
        for text in pair["answers"]:
            turns = [{"role": "user", "content": user}, {"role": "assistant", "content": text}]
            ids = torch.tensor([[*chain(*template.encode_oneturn(tokenizer, turns, system))]])
            with torch.inference_mode():
                _, _, values = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
            found.append(float(values[0, -1]))
    return found


def test_scores_are_llamafactorys_to_four_decimals(base: Path, converted: HeadOptions) -> None:
    scorer = Scorer(converted.output_dir, batch_size=3)
    ours = scorer([(scorer.render(pair["messages"]), text) for pair in PAIRS for text in pair["answers"]])
    theirs = by_llamafactory(base, converted.checkpoint)
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert max(theirs) - min(theirs) > 0.01, "scores that differ, or equality says nothing"


def test_batches_do_not_change_scores_and_an_end_token_is_not_doubled(converted: HeadOptions) -> None:
    scorer, single = Scorer(converted.output_dir, batch_size=8), Scorer(converted.output_dir, batch_size=1)
    prompt = scorer.render(PAIRS[0]["messages"])
    asked = [(prompt, text) for text in ANSWERS]
    assert scorer(asked) == pytest.approx(single(asked), abs=1e-5)
    assert scorer([(prompt, f"{ANSWERS[0]}<|im_end|>")]) == pytest.approx(scorer(asked[:1]), abs=1e-6)


def test_a_bias_is_left_out_and_told(base: Path, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", base, bias=0.75)
    options = HeadOptions(checkpoint=checkpoint, model_name_or_path=base, output_dir=tmp_path / "out")
    report = convert_head(options)
    assert (report.bias, report.difference < 1e-4) == (0.75, True)
    assert json.loads((tmp_path / "out/conversion.json").read_text())["compared"]["bias"] == 0.75
    made = (tmp_path / "out/model.safetensors").stat().st_mtime_ns
    assert convert_head(options) == report
    assert (tmp_path / "out/model.safetensors").stat().st_mtime_ns == made, "a second call does nothing"


def test_it_is_a_reward_beside_execution(converted: HeadOptions) -> None:
    params = {"reward_model": {"model": str(converted.output_dir)}}
    with RewardContext() as context:
        suite = RewardSuite(["reward_model"], context, params=params)
        prompt = Scorer(converted.output_dir).render(PAIRS[0]["messages"])
        samples = [RewardSample(prompt, text, Example("q", "shop", "", "", "SELECT 1")) for text in ANSWERS]
        scores = suite.score_batch(samples).total
    assert len(set(scores)) == len(ANSWERS)


def test_what_is_no_reward_model_is_one_line(base: Path, converted: HeadOptions, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no reward model"):
        Scorer(tmp_path)
    with pytest.raises(UserError, match="not a classifier with one score"):
        Scorer(base)
    bare = make_adapter(tmp_path / "adapter", base)
    with pytest.raises(UserError, match="no value_head"):
        convert_head(HeadOptions(checkpoint=bare, model_name_or_path=base, output_dir=tmp_path / "x"))
    wrong = make_checkpoint(tmp_path / "wrong", base)
    save_file({"v_head.summary.weight": torch.zeros(1, 64)}, wrong / HEAD)
    with pytest.raises(UserError, match="width"):
        convert_head(HeadOptions(checkpoint=wrong, model_name_or_path=base, output_dir=tmp_path / "x"))
    strict = HeadOptions(
        checkpoint=converted.checkpoint,
        model_name_or_path=base,
        output_dir=tmp_path / "x",
        dtype="float16",
        tolerance=1e-9,
    )
    with pytest.raises(UserError, match="scores differ"):
        convert_head(strict)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("profile", ["tiny", "qwen3_1p7b"])
def test_recipes_follow_the_training_that_they_convert(profile: str) -> None:
    folder = ROOT / "recipes" / profile
    options = options_from(HeadOptions, load_recipe(folder / "rm2hf.yaml", []), "rm2hf.yaml")
    trained = load_recipe(folder / "reward_model.yaml", [])
    assert str(options.checkpoint) == trained["output_dir"]
    assert str(options.model_name_or_path) == trained["model_name_or_path"]
    assert load_recipe(folder / "score_pairs.yaml", [])["reward_model"] == str(options.output_dir)
