"""Qwen3-1.7B as Megatron core splits it over four processes, on the meta device: one process's parameters as JSON.

``python megatron_size.py TENSOR_PARALLEL PIPELINE_PARALLEL CONFIG``. The process group is one of stand-ins, for nothing is
communicated.
"""

import json
import sys

import torch
from megatron.core import parallel_state
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer.transformer_config import TransformerConfig
from torch.testing._internal.distributed.fake_pg import FakeStore


def main(tensor: int, pipeline: int, shape: dict[str, int]) -> None:
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    parallel_state.initialize_model_parallel(tensor, pipeline, create_gloo_process_groups=False)
    config = TransformerConfig(
        num_layers=shape["num_hidden_layers"],
        hidden_size=shape["hidden_size"],
        num_attention_heads=shape["num_attention_heads"],
        num_query_groups=shape["num_key_value_heads"],
        kv_channels=shape["head_dim"],
        ffn_hidden_size=shape["intermediate_size"],
        gated_linear_unit=True,
        activation_func=torch.nn.functional.silu,
        add_bias_linear=False,
        normalization="RMSNorm",
        qk_layernorm=True,
        tensor_model_parallel_size=tensor,
        pipeline_model_parallel_size=pipeline,
        params_dtype=torch.bfloat16,
        pipeline_dtype=torch.bfloat16,
        bf16=True,
        use_cpu_initialization=True,
        perform_initialization=False,
    )
    layer = get_gpt_layer_local_spec(qk_layernorm=True, normalization="RMSNorm")
    with torch.device("meta"):
        model = GPTModel(
            config,
            layer,
            vocab_size=shape["vocab_size"],
            max_sequence_length=2048,
            position_embedding_type="rope",
            rotary_base=shape["rope_theta"],
            share_embeddings_and_output_weights=shape["tie_word_embeddings"],
        )
    found = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "data_parallel": parallel_state.get_data_parallel_world_size(),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
