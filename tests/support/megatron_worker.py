"""One tensor-parallel process that trains a small Qwen3 with Megatron core itself, on CPUs; started by torchrun.

Reads a Hugging Face folder and token batches, takes optimizer steps, and leaves a checkpoint in Megatron's legacy layout
and, beside it, what the test compares: losses, the first step's gradients, and the trained model's logits.
"""

import json
import sys
from functools import partial
from pathlib import Path

import megatron_shim  # noqa: F401  puts the mapping in force
import torch
import torch.distributed as dist
from megatron.core import mpu
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.tensor_parallel import gather_from_tensor_model_parallel_region, model_parallel_cuda_manual_seed
from megatron.core.transformer import TransformerConfig
from safetensors.torch import load_file, save_file

from text2sql.checkpoint.megatron import split
from text2sql.checkpoint.shape import shape_of


def build(base: Path, tensors: dict[str, torch.Tensor]) -> GPTModel:
    """Megatron's model with this process's part of the base's weights."""
    shape, _ = shape_of(str(base))
    settings = json.loads((base / "config.json").read_text(encoding="utf-8"))
    size, rank = mpu.get_tensor_model_parallel_world_size(), mpu.get_tensor_model_parallel_rank()
    config = TransformerConfig(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        ffn_hidden_size=shape.intermediate,
        num_attention_heads=shape.heads,
        num_query_groups=shape.kv_heads,
        kv_channels=shape.head_dim,
        normalization="RMSNorm",
        layernorm_epsilon=settings["rms_norm_eps"],
        qk_layernorm=True,
        add_bias_linear=False,
        gated_linear_unit=True,
        activation_func=torch.nn.functional.silu,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        tensor_model_parallel_size=size,
        calculate_per_token_loss=True,
        attention_softmax_in_fp32=True,
        gradient_accumulation_fusion=False,
        masked_softmax_fusion=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        apply_rope_fusion=False,
        persist_layer_norm=False,
    )
    model = GPTModel(
        config,
        get_gpt_layer_local_spec(qk_layernorm=True, normalization="RMSNorm"),
        shape.vocab,
        max_sequence_length=settings["max_position_embeddings"],
        position_embedding_type="rope",
        rotary_base=settings["rope_theta"],
        share_embeddings_and_output_weights=shape.tied,
    )
    own = {name: split(name, tensors, shape, size)[rank] for name, _ in model.named_parameters()}
    missing, unexpected = model.load_state_dict(own, strict=False)
    assert not unexpected and all(name.endswith("_extra_state") for name in missing), (missing, unexpected)
    return model


def forward_step(batches, model):
    """One sequence of the accumulated batch; its loss is the sum over its tokens, and how many they are."""
    ids, labels = next(batches)
    length = ids.shape[1]
    mask = torch.ones(1, 1, length, length, dtype=torch.bool).triu(1)
    counted = labels != -100
    losses = model(ids, torch.arange(length)[None], mask, labels=labels.clamp(min=0))

    def loss(losses):
        total, tokens = (losses * counted).sum(), counted.sum()
        return total, tokens.int(), {"loss": (total.detach(), tokens)}

    return losses, partial(loss)


def main(base: Path, data: Path, out: Path, steps: int, rate: float) -> None:
    """Train for ``steps`` steps on the sequences in ``data``, all of them in every step."""
    dist.init_process_group("gloo")
    mpu.initialize_model_parallel(tensor_model_parallel_size=dist.get_world_size())
    model_parallel_cuda_manual_seed(1)
    rank = mpu.get_tensor_model_parallel_rank()
    inner = build(base, load_file(base / "model.safetensors"))
    ddp = DistributedDataParallelConfig(use_distributed_optimizer=True, grad_reduce_in_fp32=True)
    model = DistributedDataParallel(inner.config, ddp, inner)
    inner.config.finalize_model_grads_func = finalize_model_grads
    settings = OptimizerConfig(
        optimizer="adam", lr=rate, weight_decay=0.0, clip_grad=1.0, use_distributed_optimizer=True
    )
    optimizer = get_megatron_optimizer(settings, [model])
    inner.config.grad_scale_func = optimizer.scale_loss
    sequences = [(ids[None, :-1], ids[None, 1:]) for ids in load_file(data).values()]
    losses, gradients = [], {}
    for step in range(steps):
        model.zero_grad_buffer()
        optimizer.zero_grad()
        found = get_forward_backward_func()(
            forward_step_func=forward_step,
            data_iterator=iter(sequences),
            model=[model],
            num_microbatches=len(sequences),
            seq_length=max(ids.shape[1] for ids, _ in sequences),
            micro_batch_size=1,
            forward_only=False,
        )
        losses.append(float(sum(row["loss"][0] for row in found) / sum(row["loss"][1] for row in found)))
        if step == 0:
            gradients = {name: p.main_grad.clone() for name, p in inner.named_parameters()}
        assert optimizer.step()[0]
    folder = out / "checkpoint" / f"iter_{steps:07d}" / f"mp_rank_{rank:02d}"
    folder.mkdir(parents=True)
    torch.save({"iteration": steps, "model": inner.state_dict_for_save_checkpoint()}, folder / "model_optim_rng.pt")
    torch.save(gradients, out / f"gradients_{rank}.pt")
    with torch.no_grad():
        ids = sequences[0][0]
        mask = torch.ones(1, 1, ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        logits = gather_from_tensor_model_parallel_region(inner(ids, torch.arange(ids.shape[1])[None], mask))
    if rank == 0:
        save_file({"input_ids": ids.contiguous(), "logits": logits.contiguous()}, out / "reference.safetensors")
        (out / "losses.json").write_text(json.dumps(losses), encoding="utf-8")
        (out / "checkpoint/latest_checkpointed_iteration.txt").write_text(str(steps), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
