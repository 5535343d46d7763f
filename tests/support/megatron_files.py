"""Megatron checkpoints in the legacy layout out of Hugging Face folders, head by head; written apart from the code under test."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from text2sql.checkpoint.shape import shape_of

TRACKER = "latest_checkpointed_iteration.txt"
TE_NAMES = {
    "input_layernorm.weight": "self_attention.linear_qkv.layer_norm_weight",
    "pre_mlp_layernorm.weight": "mlp.linear_fc1.layer_norm_weight",
}


def layer_of_rank(hf: dict, number: int, shape, tp: int, rank: int) -> dict[str, torch.Tensor]:
    """A layer's tensors on one process, head by head as Megatron lays them out; written apart from the code under test."""
    layer = {
        k.removeprefix(f"model.layers.{number}."): v for k, v in hf.items() if k.startswith(f"model.layers.{number}.")
    }
    dim, per_group = shape.head_dim, shape.heads // shape.kv_heads
    rows = []
    for group in range(rank * shape.kv_heads // tp, (rank + 1) * shape.kv_heads // tp):
        heads = range(group * per_group, (group + 1) * per_group)
        rows += [layer["self_attn.q_proj.weight"][head * dim : (head + 1) * dim] for head in heads]
        rows += [layer[f"self_attn.{part}_proj.weight"][group * dim : (group + 1) * dim] for part in "kv"]
    ffn, width = shape.intermediate // tp, shape.query // tp
    own = slice(rank * ffn, (rank + 1) * ffn)
    return {
        "input_layernorm.weight": layer["input_layernorm.weight"],
        "self_attention.linear_qkv.weight": torch.cat(rows),
        "self_attention.linear_proj.weight": layer["self_attn.o_proj.weight"][:, rank * width : (rank + 1) * width],
        "self_attention.q_layernorm.weight": layer["self_attn.q_norm.weight"],
        "self_attention.k_layernorm.weight": layer["self_attn.k_norm.weight"],
        "pre_mlp_layernorm.weight": layer["post_attention_layernorm.weight"],
        "mlp.linear_fc1.weight": torch.cat([layer["mlp.gate_proj.weight"][own], layer["mlp.up_proj.weight"][own]]),
        "mlp.linear_fc2.weight": layer["mlp.down_proj.weight"][:, own],
    }


def write_megatron(
    base: Path, out: Path, tp: int, pp: int, *, chunks: int = 1, padding: int = 0, te: bool = False
) -> Path:
    """A checkpoint in the legacy layout; ``chunks`` virtual stages a process, ``padding`` more rows of vocabulary."""
    hf, (shape, _) = load_file(base / "model.safetensors"), shape_of(str(base))
    embedding = torch.nn.functional.pad(hf["model.embed_tokens.weight"], (0, 0, 0, padding))
    head = torch.nn.functional.pad(hf.get("lm_head.weight", hf["model.embed_tokens.weight"]), (0, 0, 0, padding))
    each = shape.layers // (pp * chunks)
    for rank in range(tp):
        for stage in range(pp):
            models = []
            for chunk in range(chunks):
                first = (chunk * pp + stage) * each
                model = {}
                if first == 0:
                    model["embedding.word_embeddings.weight"] = embedding.chunk(tp)[rank]
                for local in range(each):
                    for name, tensor in layer_of_rank(hf, first + local, shape, tp, rank).items():
                        model[f"decoder.layers.{local}.{TE_NAMES.get(name, name) if te else name}"] = tensor
                if first + each == shape.layers:
                    model["decoder.final_layernorm.weight"] = hf["model.norm.weight"]
                    if not shape.tied or first:
                        model["output_layer.weight"] = head.chunk(tp)[rank]
                models.append({name: tensor.clone() for name, tensor in model.items()})
            folder = out / "iter_0000007" / (f"mp_rank_{rank:02d}" + (f"_{stage:03d}" if pp > 1 else ""))
            folder.mkdir(parents=True)
            named = {"model": models[0]} if chunks == 1 else {f"model{i}": model for i, model in enumerate(models)}
            torch.save({"iteration": 7, "checkpoint_version": 3.0, **named}, folder / "model_optim_rng.pt")
    (out / TRACKER).write_text("7", encoding="utf-8")
    return out
