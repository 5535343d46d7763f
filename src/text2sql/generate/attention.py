"""Attention for decoding with grouped keys, without copying the cache for every new token.

transformers repeats keys and values once for each query head before it calls PyTorch, which on a CPU costs as much as
the rest of a decoding step. With one new token the query heads of a group can be passed as if they were positions.
"""

from typing import Any

NAME = "sdpa_grouped_decoding"


def register() -> str:
    """Make the implementation known to transformers; returns its name for ``attn_implementation``."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def grouped_attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **kwargs: Any
) -> tuple[Any, None]:
    """As transformers' ``sdpa_attention_forward``: query (batch, heads, new, size), keys and values (batch, groups, all, size).

    Returns:
        (batch, new, heads, size), and no weights.
    """
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    batch, heads, new, size = query.shape
    groups = key.shape[1]
    if new != 1 or heads == groups:
        whole = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return whole[0], None
    grouped = query.reshape(batch, groups, heads // groups, size)
    mask = None if attention_mask is None else attention_mask[..., : key.shape[-2]]
    out = scaled_dot_product_attention(grouped, key, value, attn_mask=mask, scale=scaling)
    return out.reshape(batch, 1, heads, size), None
