"""A group's completions share one prompt, so the prompt is computed once.

In text-to-SQL the prompt is a schema of hundreds of tokens and the answer a few dozen; with eight completions a prompt,
most of what TRL computes, in generation and in the update, is the same prompt again. Here a group is one row in the
update: the prompt, then its completions one after another, each of which attends to the prompt and to itself.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from trl.trainer.utils import entropy_from_logits, selective_log_softmax

from text2sql.generate import attention

_ATTENTION = "sdpa"  # takes any mask; flash attention and eager do not, or not the same


def can_share(model: Any) -> bool:
    """Whether the model's attention takes the mask that sharing needs."""
    return str(getattr(model.config, "_attn_implementation", "")) == _ATTENTION


def block_size(prompts: torch.Tensor) -> int:
    """The largest n for which every n rows in turn are equal; ``prompts`` has shape (rows, tokens)."""
    same = (prompts[1:] == prompts[:-1]).all(dim=1).tolist()
    return math.gcd(len(prompts), *(i for i, equal in enumerate(same, 1) if not equal))


def worth_sharing(config: Any, prompt: int, completion: int, block: int) -> bool:
    """Whether ``block`` completions after one prompt cost less than each after its own; lengths are in tokens.

    Counted are a layer's operations: two a weight and token, and four times attention's width for each pair of tokens
    in a row, since the mask is dense. With long completions of a small model the second outweighs the first.
    """
    heads, hidden = int(config.num_attention_heads), int(config.hidden_size)
    width = heads * int(getattr(config, "head_dim", None) or hidden // heads)
    groups = heads // int(getattr(config, "num_key_value_heads", None) or heads)
    weights = 2 * hidden * (width + width // groups) + 3 * hidden * int(config.intermediate_size)

    def cost(rows: int, length: int) -> int:
        return rows * length * (2 * weights + 4 * width * length)

    return cost(1, prompt + block * completion) < cost(block, prompt + completion)


def log_probabilities(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, keep: int, block: int, temperature: float, entropy: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log probabilities of the last ``keep`` tokens of each row and, if asked, entropies; both (rows, keep).

    Arguments as in :func:`shared_logits`.
    """
    logits = shared_logits(model, ids, mask, keep, block) / temperature
    found = selective_log_softmax(logits, ids[:, -keep:])
    if not entropy:
        return found, None
    with torch.no_grad():
        return found, entropy_from_logits(logits)


def shared_logits(model: Any, ids: torch.Tensor, mask: torch.Tensor, keep: int, block: int) -> torch.Tensor:
    """Logits that predict the last ``keep`` tokens of each row, as the model gives them for the rows one by one.

    ``ids`` and ``mask`` have shape (rows, prompt + keep), prompts padded on the left, completions on the right; each
    ``block`` rows have the same prompt. Returns (rows, keep, vocabulary).
    """
    rows, width = ids.shape[0], ids.shape[1] - keep
    groups = rows // block
    packed = torch.cat([ids[::block, :width], ids[:, width:].reshape(groups, block * keep)], dim=1)
    valid = torch.cat([mask[::block, :width], mask[:, width:].reshape(groups, block * keep)], dim=1).bool()
    before = valid[:, :width].sum(dim=1, keepdim=True)
    positions = torch.cat(
        [
            (valid[:, :width].cumsum(dim=1) - 1).clamp(min=0),
            before + torch.arange(keep, device=ids.device).repeat(block)[None, :],
        ],
        dim=1,
    )
    logits = model(
        input_ids=packed,
        attention_mask=_visible(valid, width, keep),
        position_ids=positions,
        logits_to_keep=block * keep + 1,
        use_cache=False,
    ).logits
    first = logits[:, :1].unsqueeze(1).expand(-1, block, -1, -1)
    later = logits[:, 1:].unflatten(1, (block, keep))[:, :, :-1]
    return torch.cat([first, later], dim=2).reshape(rows, keep, -1)


def _visible(valid: torch.Tensor, width: int, keep: int) -> torch.Tensor:
    """Mask of shape (groups, 1, tokens, tokens): the prompt and the own completion, up to oneself."""
    place = torch.arange(valid.shape[1], device=valid.device)
    part = (place - width).div(keep, rounding_mode="floor").clamp(min=-1)  # -1 for the prompt
    causal = (place[None, :] <= place[:, None]) & ((part[None, :] == -1) | (part[None, :] == part[:, None]))
    alone = torch.eye(valid.shape[1], dtype=torch.bool, device=valid.device)  # padding sees itself, else it is NaN
    return ((causal & valid[:, None, :]) | alone)[:, None]


@contextmanager
def shared_prefill(model: Any) -> Iterator[None]:
    """Let ``model.generate`` compute each prompt once where rows in turn have the same one."""
    plain, config = model.generate, model.config
    kept = config._attn_implementation

    def generate(input_ids: torch.Tensor, attention_mask: torch.Tensor, **named: Any) -> Any:
        block = block_size(input_ids)
        if block > 1 and input_ids.shape[1] > 1:
            unique, seen = input_ids[::block, :-1], attention_mask[::block, :-1]
            positions = (seen.cumsum(dim=1) - 1).clamp(min=0)
            cache = model(
                input_ids=unique, attention_mask=seen, position_ids=positions, use_cache=True, logits_to_keep=1
            ).past_key_values
            cache.batch_repeat_interleave(block)
            named["past_key_values"] = cache
        return plain(input_ids=input_ids, attention_mask=attention_mask, **named)

    model.generate = generate
    config._attn_implementation = attention.register()
    try:
        yield
    finally:
        del model.generate
        config._attn_implementation = kept
