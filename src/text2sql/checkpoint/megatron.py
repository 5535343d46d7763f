"""Megatron's tensors and Hugging Face's, of a Qwen3-shaped decoder: each is a rearrangement of the other.

Megatron splits a matrix over tensor-parallel processes by rows (column parallel: its outputs are split) or by columns
(row parallel), and stores queries, keys and values as one matrix, group by group, and gate and up projection as another.
"""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from text2sql.checkpoint.run import RETRY, MegatronCheckpoint
from text2sql.checkpoint.shape import Shape
from text2sql.errors import UserError

Kind = Literal["copy", "vocab", "row", "qkv", "gated"]

EMBEDDING, HEAD = "embedding.word_embeddings.weight", "output_layer.weight"
LAYER = "decoder.layers."

_OUTSIDE: dict[str, tuple[Kind, tuple[str, ...]]] = {
    EMBEDDING: ("vocab", ("model.embed_tokens.weight",)),
    HEAD: ("vocab", ("lm_head.weight",)),
    "decoder.final_layernorm.weight": ("copy", ("model.norm.weight",)),
}
# Two names for a norm: Transformer Engine stores it with the matrix that follows.
_INSIDE: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "input_layernorm.weight": ("copy", ("input_layernorm",)),
    "self_attention.linear_qkv.layer_norm_weight": ("copy", ("input_layernorm",)),
    "self_attention.linear_qkv.weight": ("qkv", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    "self_attention.q_layernorm.weight": ("copy", ("self_attn.q_norm",)),
    "self_attention.k_layernorm.weight": ("copy", ("self_attn.k_norm",)),
    "self_attention.linear_proj.weight": ("row", ("self_attn.o_proj",)),
    "pre_mlp_layernorm.weight": ("copy", ("post_attention_layernorm",)),
    "mlp.linear_fc1.layer_norm_weight": ("copy", ("post_attention_layernorm",)),
    "mlp.linear_fc1.weight": ("gated", ("mlp.gate_proj", "mlp.up_proj")),
    "mlp.linear_fc2.weight": ("row", ("mlp.down_proj",)),
}


def hf_names(name: str) -> tuple[Kind, tuple[str, ...]]:
    """How a Megatron tensor is split, and the Hugging Face tensors that it holds.

    Raises:
        UserError: a Qwen3 decoder has no such tensor.
    """
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    layer, _, inside = name.removeprefix(LAYER).partition(".")
    if not name.startswith(LAYER) or not layer.isdigit() or inside not in _INSIDE:
        raise UserError(f"the checkpoint holds {name}, which a dense Qwen3 model does not have; it cannot be converted")
    kind, parts = _INSIDE[inside]
    return kind, tuple(f"model.layers.{layer}.{part}.weight" for part in parts)


def merge(name: str, parts: Sequence[Tensor], shape: Shape) -> dict[str, Tensor]:
    """The Hugging Face tensors in a Megatron tensor, given its parts on all tensor-parallel processes in order.

    Raises:
        UserError: the parts do not fit each other or the model.
    """
    kind, names = hf_names(name)
    if kind == "copy":
        if any(not torch.equal(parts[0], part) for part in parts[1:]):
            raise UserError(
                f"the tensor-parallel processes disagree on {name}; the checkpoint was not saved at one step"
            )
        return {names[0]: parts[0]}
    if kind == "row":
        return {names[0]: torch.cat(list(parts), dim=1)}
    if kind == "gated":
        halves = zip(*(part.chunk(2) for part in parts), strict=True)
        return {hf: torch.cat(half) for hf, half in zip(names, halves, strict=True)}
    whole = torch.cat(list(parts))
    if kind == "vocab":
        return {names[0]: whole[: shape.vocab]}  # Megatron may pad the vocabulary
    queries = shape.heads // shape.kv_heads
    if whole.shape[0] != (queries + 2) * shape.key:
        raise UserError(
            f"{name} has {whole.shape[0]} rows in all, the model needs {(queries + 2) * shape.key}; was the checkpoint trained "
            "from the model that model_name_or_path names?"
        )
    groups = whole.view(shape.kv_heads, (queries + 2) * shape.head_dim, -1)
    cut = groups.split([queries * shape.head_dim, shape.head_dim, shape.head_dim], dim=1)
    return {hf: part.reshape(-1, whole.shape[-1]) for hf, part in zip(names, cut, strict=True)}


def split(name: str, tensors: Mapping[str, Tensor], shape: Shape, size: int) -> list[Tensor]:
    """A Megatron tensor's parts on ``size`` tensor-parallel processes: the inverse of :func:`merge`, without padding."""
    kind, names = hf_names(name)
    found = [tensors[hf] for hf in names]
    if kind == "copy":
        return found * size
    if kind == "row":
        return list(found[0].chunk(size, dim=1))
    if kind == "gated":
        return [torch.cat(halves) for halves in zip(*(tensor.chunk(size) for tensor in found), strict=True)]
    if kind == "qkv":
        groups = [tensor.view(shape.kv_heads, -1, tensor.shape[-1]) for tensor in found]
        found = [torch.cat(groups, dim=1).reshape(-1, found[0].shape[-1])]
    return list(found[0].chunk(size))


def load_states(path: Path, *, trust: bool = False) -> list[dict[str, Tensor]]:
    """The tensors of one process, one dictionary for each virtual pipeline stage; ``trust`` unpickles other objects too.

    Raises:
        UserError: the file is cut short, holds no model, or holds Python objects and is not trusted.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=not trust, mmap=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "weights_only" in str(error).lower():
            raise UserError(
                f"{path}: holds Python objects beside tensors; if you trust who made it, add trust_checkpoint=true"
            ) from error
        raise UserError(f"{path}: not a checkpoint file; {RETRY}") from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"{path}: cut short or damaged ({str(error).splitlines()[0][:80]}); {RETRY}") from error
    found = {int(match[1] or 0): key for key in content if (match := re.fullmatch(r"model(\d*)", str(key)))}
    names = [found[stage] for stage in sorted(found)]
    if not names:
        raise UserError(f"{path}: no model in it; {RETRY}")
    return [{key: value for key, value in content[name].items() if isinstance(value, Tensor)} for name in names]


def in_order(checkpoint: MegatronCheckpoint, *, trust: bool = False) -> dict[str, list[Tensor]]:
    """Every Megatron tensor by its name in the whole model, with its parts on all tensor-parallel processes.

    Each pipeline stage numbers its layers from zero; here they are numbered through the model, whose order is all stages'
    first virtual stage, then all stages' second one, and so on.

    Raises:
        UserError: a file is damaged, or processes hold different tensors.
    """
    states = {rank: load_states(path, trust=trust) for rank, path in checkpoint.files.items()}
    found: dict[str, list[Tensor]] = {}
    before = 0
    for chunk in range(len(states[0, 0])):
        for stage in range(checkpoint.pipeline):
            parts = [states[rank, stage][chunk] for rank in range(checkpoint.tensor)]
            if any(part.keys() != parts[0].keys() for part in parts):
                raise UserError(f"{checkpoint.folder}: the processes of stage {stage} hold different tensors; {RETRY}")
            layers = [int(name.split(".")[2]) for name in parts[0] if name.startswith(LAYER)]
            for name in parts[0]:
                if not name.endswith("_extra_state"):
                    found[_renumbered(name, before)] = [part[name] for part in parts]
            before += max(layers, default=-1) + 1
    return found


def _renumbered(name: str, before: int) -> str:
    if not name.startswith(LAYER):
        return name
    layer, _, inside = name.removeprefix(LAYER).partition(".")
    return f"{LAYER}{int(layer) + before}.{inside}"


def merge_all(parts: dict[str, list[Tensor]], shape: Shape) -> dict[str, Tensor]:
    """All Hugging Face tensors; the last pipeline stage's copy of a tied embedding is checked and left out.

    Raises:
        UserError: parts do not fit, or the copies of a tied embedding differ.
    """
    tensors: dict[str, Tensor] = {}
    for name, pieces in parts.items():
        tensors |= merge(name, pieces, shape)
    head = tensors.get("lm_head.weight")
    if shape.tied and head is not None:
        if not torch.equal(head, tensors["model.embed_tokens.weight"]):
            raise UserError(
                f"{EMBEDDING} and {HEAD} differ, but the model ties them; the stages were not saved at one step"
            )
        del tensors["lm_head.weight"]
    return tensors
