"""The engines on a real, randomly initialised Qwen3 model: they must agree, and obey nothing but ``Decoding``."""

import json

import pytest
import torch

from support.tiny_model import QUESTIONS, SCHEMA, make_adapter, make_model
from text2sql.errors import UserError
from text2sql.generate import Decoding, EngineSettings, Request, open_engine
from text2sql.generate.hf import plan_batches, shared_prefix
from text2sql.generate.vllm_engine import vllm_python
from text2sql.prompts import build_messages

needs_vllm = pytest.mark.skipif(vllm_python() is None, reason="no vLLM environment (bash scripts/setup.sh vllm)")
OTHER = SCHEMA.replace("shop", "depot").replace("sale", "delivery")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module")
def adapter(model):
    return make_adapter(model.parent / "adapter", model)


def questions(count, schemas=(SCHEMA, OTHER)):
    chats = [build_messages(f"{QUESTIONS[i % 6]} ({i})", schemas[i % 3 % len(schemas)]) for i in range(count)]
    return [Request(f"q{i}", chat) for i, chat in enumerate(chats)]


def answers(settings, requests, decoding):
    with open_engine(settings) as engine:
        return {(c.key, c.sample): c for c in engine.generate(requests, decoding)}


def hf(model, **options):
    return EngineSettings(model_name_or_path=str(model), engine="transformers", **options)


def one_by_one(model, requests, tokens):
    """Greedy decoding without cache, padding or generate(): the highest logit, again and again."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    ends = set(tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]))
    texts = {}
    for request in requests:
        ids = tokenizer.apply_chat_template(request.messages, add_generation_prompt=True, enable_thinking=False)
        new: list[int] = []
        while len(new) < tokens:
            with torch.inference_mode():
                token = int(network(torch.tensor([ids + new])).logits[0, -1].argmax())
            if token in ends:
                break
            new.append(token)
        texts[request.key] = tokenizer.decode(new, clean_up_tokenization_spaces=False)
    return texts


def test_batches_with_a_shared_prefix_equal_plain_decoding(model):
    requests = questions(12)
    expected = one_by_one(model, requests, 12)
    for size in (1, 5, 32):
        found = answers(hf(model, batch_size=size), requests, Decoding(max_new_tokens=12))
        assert {key: c.text for (key, _), c in found.items()} == expected


def test_the_models_generation_config_decides_nothing(model, tmp_path):
    import shutil

    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    settings = {
        "do_sample": True,
        "temperature": 0.6,
        "top_k": 3,
        "top_p": 0.5,
        "repetition_penalty": 3.0,
        "max_new_tokens": 2,
    }
    (copy / "generation_config.json").write_text(json.dumps(settings))
    requests = questions(6)
    for decoding in (Decoding(max_new_tokens=12), Decoding(temperature=1.3, n=2, seed=5, max_new_tokens=12)):
        assert answers(hf(copy), requests, decoding) == answers(hf(model), requests, decoding)


def test_samples_differ_and_repeat_with_the_seed(model):
    decoding = Decoding(temperature=1.0, n=4, seed=3, max_new_tokens=8)
    first = answers(hf(model), questions(3), decoding)
    assert len(first) == 12
    assert len({c.text for c in first.values()}) > 6
    assert answers(hf(model), questions(3), decoding) == first
    assert answers(hf(model), questions(3), Decoding(temperature=1.0, n=4, seed=4, max_new_tokens=8)) != first


def test_stop_strings_end_and_are_cut(model):
    requests = questions(4)
    plain = answers(hf(model), requests, Decoding(max_new_tokens=12))
    stop = plain["q0", 0].text[4:6]
    cut = answers(hf(model), requests, Decoding(max_new_tokens=12, stop=(stop,)))
    assert cut["q0", 0].text == plain["q0", 0].text.partition(stop)[0]
    assert cut["q0", 0].finish_reason == "stop"
    assert cut["q0", 0].completion_tokens < 12


def test_too_long_prompts_get_no_answer_and_are_not_cut(model):
    requests = [*questions(2), Request("long", build_messages("x " * 400, SCHEMA))]
    found = answers(hf(model, max_model_len=300), requests, Decoding(max_new_tokens=3))
    assert found["long", 0].finish_reason == "prompt_too_long"
    assert found["long", 0].text == ""
    assert found["q0", 0].completion_tokens == 3


def test_adapter_changes_answers_and_equals_the_merged_model(model, adapter, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged = tmp_path / "merged"
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), adapter).merge_and_unload()
    tuned.save_pretrained(merged)
    AutoTokenizer.from_pretrained(model).save_pretrained(merged)
    requests, decoding = questions(12), Decoding(max_new_tokens=10)
    by_adapter = answers(hf(model, adapter_name_or_path=adapter), requests, decoding)
    assert by_adapter == answers(hf(merged), requests, decoding)
    assert by_adapter != answers(hf(model), requests, decoding)


@needs_vllm
@pytest.mark.slow
def test_vllm_agrees_with_transformers_samples_stops_and_serves_twice(model):
    requests, decoding = questions(60), Decoding(max_new_tokens=24)
    ours = answers(hf(model), requests, decoding)
    few = [*questions(3), Request("long", build_messages("x " * 3000, SCHEMA))]
    with open_engine(EngineSettings(model_name_or_path=str(model), engine="vllm")) as engine:
        theirs = {(c.key, c.sample): c for c in engine.generate(requests, decoding)}
        stop = theirs["q0", 0].text[4:6]
        cut = {c.key: c for c in engine.generate(few, Decoding(max_new_tokens=24, stop=(stop,)))}
        samples = list(engine.generate(few, Decoding(temperature=1.0, n=3, max_new_tokens=8)))
    assert sum(ours[key].text == theirs[key].text for key in ours) >= 0.98 * len(ours)
    assert cut["q0"].text == theirs["q0", 0].text.partition(stop)[0]
    assert cut["long"].finish_reason == "prompt_too_long"
    assert [c.sample for c in samples if c.key == "q1"] == [0, 1, 2]
    assert len({c.text for c in samples if c.key == "q1"}) > 1


@needs_vllm
@pytest.mark.slow
def test_vllm_with_an_adapter_agrees_with_transformers(model, adapter):
    requests, decoding = questions(60), Decoding(max_new_tokens=24)
    ours = answers(hf(model, adapter_name_or_path=adapter), requests, decoding)
    theirs = answers(
        EngineSettings(model_name_or_path=str(model), adapter_name_or_path=adapter, engine="vllm"), requests, decoding
    )
    assert sum(ours[key].text == theirs[key].text for key in ours) >= 0.98 * len(ours)


@needs_vllm
@pytest.mark.slow
def test_vllm_failure_is_one_line(model, tmp_path):
    broken = make_model(tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"num_key_value_heads": 3}))
    with pytest.raises(UserError, match="vLLM stopped with status") as error:
        open_engine(EngineSettings(model_name_or_path=str(broken), engine="vllm"))
    assert "\n" not in str(error.value)


def test_batches_follow_schemas():
    one, two = [1] * 40, [2] * 40
    prompts = sorted([[*one, i] for i in range(10)] + [[*two, i] for i in range(5)])
    bounds = list(plan_batches(prompts, 8))
    assert bounds == [(0, 8), (8, 10), (10, 15)]
    assert [shared_prefix(prompts[a], prompts[b - 1]) for a, b in bounds] == [40, 40, 40]
    assert shared_prefix([1, 2], [1, 2]) == 1
    mixed = sorted([[i] * 9 for i in range(20)])
    assert [b - a for a, b in plan_batches(mixed, 16)] == [16, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 2}, "temperature above 0"),
        ({"temperature": -1.0}, "temperature is 0"),
        ({"top_p": 0.0}, "top_p"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_wrong_decoding_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        Decoding(**options)


def test_missing_and_broken_models_are_one_line(model, adapter, tmp_path, monkeypatch):
    def refused(settings, words):
        with pytest.raises(UserError, match=words):
            open_engine(settings)

    refused(hf(tmp_path / "absent"), "no such model folder")
    refused(hf(adapter), "holds an adapter, not a model; .*it as adapter_name_or_path")
    refused(hf(model, adapter_name_or_path=tmp_path), "no adapter there")
    wider = make_model(tmp_path / "wider", hidden=192)
    refused(hf(wider, adapter_name_or_path=adapter), "does not fit")
    shallow = make_model(tmp_path / "shallow", layers=1)
    refused(hf(shallow, adapter_name_or_path=adapter), "no layer")
    weights = shallow / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    refused(hf(shallow), "cut short")
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    refused(hf(shallow), "Git LFS pointer")
    weights.unlink()
    refused(hf(shallow), "no weights")
    monkeypatch.setenv("TEXT2SQL_ENV_DIR", str(tmp_path))
    refused(EngineSettings(model_name_or_path=str(model), engine="vllm"), "setup.sh vllm")
    refused(hf(model, data_parallel_size=2), "need engine: vllm; here it is transformers")
    refused(EngineSettings(model_name_or_path="x", engine="openai"), "base_urls")
    refused(
        EngineSettings(model_name_or_path="x", engine="openai", base_urls=("http://127.0.0.1:9/v1",)),
        "no server answers",
    )
    with open_engine(EngineSettings(model_name_or_path=str(model))) as engine:
        assert engine.name == "transformers"
