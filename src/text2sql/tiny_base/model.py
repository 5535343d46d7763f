"""The tiny base as files: its tokenizer, its random weights before training, and its shipped weights after it."""

import shutil
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from text2sql.artifacts import whole_folder

# Qwen3's added tokens, in its order. The second group is plain text to Qwen3 as well (not "special").
SPECIAL = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> "
    "<|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>".split()
)
ADDED = (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> "
    "<tool_response> </tool_response> <think> </think>".split()
)

# An identifier must be spelled with the same pieces in the schema, in the question (" singers") and after a dot
# ("T1.singer"), or copying it means respelling it. So spaces belong to keywords (taken as phrases: " ORDER BY ")
# and punctuation, never to words, and a plural's "s" stands alone.
SPLIT = "|".join(
    [
        r"T\d\.?",
        r" ?[A-Z][A-Z]+(?![a-z])(?: [A-Z][A-Z]+(?![a-z]))* ?",
        r"[A-Z]?[a-z]+?(?=s?(?![a-z]))",
        r"s(?![a-z])",
        r"[A-Z]",
        r"\d",
        r" ?[^\sA-Za-z\d\p{Han}]+ ?",
        r"\p{Han}+",
        r"\n+",
        r"\s",
    ]
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE over ``texts`` with Qwen3's added tokens and a chat template with its thinking switch."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL) - len(ADDED),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens(ADDED)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[1:],
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
        padding_side="left",
    )
    wrapped.chat_template = files(__package__).joinpath("chat_template.jinja").read_text(encoding="utf-8")
    return wrapped


def read_pieces(folder: Path) -> tuple[str, ...]:
    """The lower-case letters-only pieces of a saved tokenizer, at most five letters long, in a fixed order."""
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    return tuple(sorted(p for p in vocabulary if p.isascii() and p.isalpha() and p.islower() and len(p) <= 5))


def write_untrained(folder: Path, tokenizer: PreTrainedTokenizerFast, shape: dict[str, int], seed: int) -> int:
    """Write tokenizer, configuration and random weights to ``folder``; returns the number of parameters."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        max_position_embeddings=4096,
        rope_theta=10000.0,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        **shape,
    )
    model = Qwen3ForCausalLM(config)
    with whole_folder(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    return sum(parameter.numel() for parameter in model.parameters())


def write_shipped(checkpoint: Path, folder: Path) -> int:
    """Replace ``folder`` by the checkpoint's model in bfloat16, but keep its model card; returns the size in bytes."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16)
    model.config.use_cache = True
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=model.config.eos_token_id, pad_token_id=model.config.pad_token_id
    )
    card = folder / "README.md"
    with whole_folder(folder) as partial:
        model.save_pretrained(partial)
        AutoTokenizer.from_pretrained(checkpoint, padding_side="left").save_pretrained(partial)
        if card.is_file():
            shutil.copy2(card, partial)
        for file in partial.iterdir():
            file.chmod(0o644)  # safetensors writes files that only their owner may read
    return sum(file.stat().st_size for file in folder.iterdir())
