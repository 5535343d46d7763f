"""GGUF: what is written is the model; llama.cpp answers as transformers does, where it is installed."""

import importlib.util

import gguf
import numpy as np
import pytest

from support.laptop import MODEL, agreement, opened
from support.tiny_model import QUESTIONS, SCHEMA, make_model
from text2sql.checkpoint.gguf import export
from text2sql.errors import UserError
from text2sql.prompts import build_messages


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "small")


def test_every_weight_is_there(model, tmp_path) -> None:
    from safetensors.numpy import load_file

    f16, q8, modelfile = export(model, tmp_path / "out")
    weights = load_file(model / "model.safetensors")
    reader = gguf.GGUFReader(f16)
    assert len(reader.tensors) == len(weights)
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    assert np.allclose(found["token_embd.weight"], weights["model.embed_tokens.weight"], atol=1e-3)
    assert np.array_equal(found["blk.1.attn_q_norm.weight"], weights["model.layers.1.self_attn.q_norm.weight"])
    assert "output.weight" not in found, "tied"
    small = {tensor.name: tensor for tensor in gguf.GGUFReader(q8).tensors}["blk.0.ffn_down.weight"]
    again = gguf.quants.dequantize(small.data, small.tensor_type)
    assert np.allclose(again, weights["model.layers.0.mlp.down_proj.weight"], atol=0.02)
    assert q8.stat().st_size < 0.7 * f16.stat().st_size
    assert "FROM ./small-Q8_0.gguf" in modelfile.read_text()


def test_shape_and_tokenizer_go_with_it(model, tmp_path) -> None:
    from transformers import AutoTokenizer

    reader = gguf.GGUFReader(export(model, tmp_path / "out")[0])
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert (fields["general.architecture"], fields["tokenizer.ggml.pre"]) == ("qwen3", "qwen2")
    assert (fields["qwen3.attention.key_length"], fields["qwen3.block_count"]) == (32, 2)
    assert fields["tokenizer.chat_template"] == tokenizer.chat_template
    assert fields["tokenizer.ggml.tokens"][tokenizer.eos_token_id] == "<|im_end|>"
    assert fields["tokenizer.ggml.token_type"][tokenizer.eos_token_id] == gguf.TokenType.CONTROL
    assert len(fields["tokenizer.ggml.tokens"]) == len(tokenizer)


def test_other_models_are_refused(model, tmp_path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        export(tmp_path / "none", tmp_path / "out")
    other = tmp_path / "llama"
    other.mkdir()
    for file in model.iterdir():
        (other / file.name).write_bytes(file.read_bytes().replace(b'"model_type": "qwen3"', b'"model_type": "llama"'))
    with pytest.raises(UserError, match="a llama model; only Qwen3"):
        export(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


needs_llama = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None,
    reason="llama-cpp-python is not installed (pip install llama-cpp-python)",
)


@needs_llama
def test_llama_cpp_reads_text_as_the_tokenizer_does(model, tmp_path) -> None:
    from transformers import AutoTokenizer

    tokenizer, llama = AutoTokenizer.from_pretrained(model), opened(export(model, tmp_path / "out")[0])
    for question in [*QUESTIONS, "It's 12345 rows;\n\n  isn't it?\t[SCHEMA] é € 你好，世界 T1.a>=3"]:
        chat = tokenizer.apply_chat_template(
            build_messages(question, SCHEMA), add_generation_prompt=True, tokenize=False
        )
        ids = tokenizer(chat, add_special_tokens=False)["input_ids"]
        assert llama.tokenize(chat.encode(), add_bos=False, special=True) == ids


def test_a_tokenizer_that_llama_cpp_cannot_follow_is_said(tmp_path, caplog) -> None:
    export(MODEL, tmp_path / "out")
    assert "cuts text in another way" in caplog.text


@pytest.mark.slow
@needs_llama
def test_llama_cpp_answers_as_transformers_does(tmp_path) -> None:
    assert agreement(tmp_path, questions=40) >= 0.98
