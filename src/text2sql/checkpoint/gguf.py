"""Writes a Qwen3 model as GGUF, the file that llama.cpp, Ollama and LM Studio read.

Weights, tokenizer and chat template go into one file. Values are written as 16-bit floats, or in blocks of 32 with 8 bits each
(Q8_0); norms stay in 32 bits. The tokenizer is a byte-level BPE split as Qwen's, which is what ``qwen2`` means to llama.cpp.
"""

import json
import logging
from pathlib import Path
from typing import Annotated, Any, Literal

import gguf
import typer
from gguf.constants import GGMLQuantizationType, LlamaFileType, TokenType
from rich.console import Console

from text2sql.artifacts import whole_folder
from text2sql.checkpoint.model import check_model, read_json
from text2sql.errors import UserError, run_command
from text2sql.recipe.command import single
from text2sql.recipe.load import from_caller, in_callers_folder

logger = logging.getLogger("text2sql.gguf")
Precision = Literal["F16", "Q8_0"]
PRECISIONS: tuple[Precision, ...] = ("F16", "Q8_0")
_KINDS = {
    "F16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "Q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
_BLOCK = 32
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen's tokenizer cuts text before it merges bytes; llama.cpp knows it, and can be given no other."""


def export(model: Path, folder: Path, name: str = "") -> list[Path]:
    """Write ``NAME-F16.gguf``, ``NAME-Q8_0.gguf`` and Ollama's ``Modelfile`` into a new ``folder``; returns them.

    Raises:
        UserError: the model is not whole, is no Qwen3, or its tokenizer is no byte-level BPE with a chat template.
    """
    check_model(model)
    config, name = read_json(model / "config.json"), name or model.resolve().name
    if config.get("model_type") != "qwen3":
        raise UserError(f"{model}: a {config.get('model_type')} model; only Qwen3 can be exported")
    files = [folder / f"{name}-{precision}.gguf" for precision in PRECISIONS]
    with whole_folder(folder) as partial:
        for precision, file in zip(PRECISIONS, files, strict=True):
            _write(model, config, partial / file.name, name, precision)
            logger.info("%s: %.1f MB", file, (partial / file.name).stat().st_size / 1e6)
        (partial / "Modelfile").write_text(_modelfile(files[1].name, config), encoding="utf-8")
    return [*files, folder / "Modelfile"]


def main(
    model: Annotated[Path, typer.Argument(help="A merged model in Hugging Face form.")],
    folder: Annotated[Path | None, typer.Argument(help="Where to write; default: outputs/gguf/NAME.")] = None,
) -> None:
    """Write a Qwen3 model as GGUF (F16 and Q8_0) with tokenizer and chat template, and Ollama's Modelfile."""
    source = Path(from_caller(str(model)))
    target = Path(in_callers_folder(str(folder))) if folder else Path("outputs/gguf", source.resolve().name)
    _, small, recipe = export(source, target)
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Ollama:    cd {recipe.parent} && ollama create {source.resolve().name.lower()} -f {recipe.name}")
    console.print(f"LM Studio: lms import {small}")


def _write(model: Path, config: dict[str, Any], path: Path, name: str, precision: Precision) -> None:
    kind, file_type = _KINDS[precision]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.QWEN3])
    _add_shape(writer, config, name)
    writer.add_file_type(file_type)
    _add_tokenizer(writer, model, config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config["num_hidden_layers"])
    for theirs, values in _tensors(model):
        ours = names.get_name(theirs, try_suffixes=(".weight",))
        if ours is None:
            raise UserError(f"{model}: {theirs} is no tensor of Qwen3")
        if theirs == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        whole = values.ndim == 1  # norms
        used = GGMLQuantizationType.F32 if whole else kind
        if used == GGMLQuantizationType.Q8_0 and values.shape[-1] % _BLOCK:
            used = GGMLQuantizationType.F16
        writer.add_tensor(ours, gguf.quants.quantize(values, used), raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(model: Path) -> Any:
    """Names and float32 values, one after another."""
    import torch
    from safetensors import safe_open

    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                yield name, file.get_tensor(name).to(torch.float32).numpy()


def _add_shape(writer: gguf.GGUFWriter, config: dict[str, Any], name: str) -> None:
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_name(name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    rope = config.get("rope_parameters") or config  # transformers 5 keeps it there
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def _add_tokenizer(writer: gguf.GGUFWriter, model: Path, config: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model, local_files_only=True)
    if not tokenizer.is_fast or tokenizer.chat_template is None:
        raise UserError(f"{model}: needs a tokenizer.json and a chat template")
    form = json.loads(tokenizer.backend_tokenizer.to_str())
    if form["model"]["type"] != "BPE":
        raise UserError(f"{model}: its tokenizer is {form['model']['type']}, not a byte-level BPE")
    if json.dumps(QWEN_SPLIT) not in json.dumps(form["pre_tokenizer"]):
        logger.warning(
            "%s: its tokenizer cuts text in another way than Qwen's, which llama.cpp cannot do: give it token ids of the "
            "model's own tokenizer, or answers will differ",
            model,
        )
    texts = {number: text for text, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, kinds = [], []
    for number in range(config["vocab_size"]):
        tokens.append(texts.get(number, f"[PAD{number}]"))
        known = added.get(number)
        special = TokenType.CONTROL if known is not None and known.special else TokenType.USER_DEFINED
        kinds.append(TokenType.UNUSED if number not in texts else special if known is not None else TokenType.NORMAL)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in form["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


def _modelfile(file: str, config: dict[str, Any]) -> str:
    """Ollama's recipe: greedy, with the context that the model has; the prompt's system message comes from the caller."""
    return "\n".join(
        (
            f"FROM ./{file}",
            'TEMPLATE """{{- range .Messages }}<|im_start|>{{ .Role }}',
            "{{ .Content }}<|im_end|>",
            "{{ end }}<|im_start|>assistant",
            "<think>",
            "",
            "</think>",
            "",
            '"""',
            "PARAMETER temperature 0",
            "PARAMETER repeat_penalty 1.0",
            f"PARAMETER num_ctx {min(int(config['max_position_embeddings']), 8192)}",
            'PARAMETER stop "<|im_end|>"',
            "",
        )
    )


if __name__ == "__main__":
    run_command(single(main))
