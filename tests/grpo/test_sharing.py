"""A prompt that a group shares is computed once, and nothing else changes."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, Qwen3Config

from support.tiny_model import make_model
from text2sql.grpo.sharing import block_size, can_share, shared_logits, shared_prefill, worth_sharing

PAD, END = 0, 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("sharing") / "model"
    make_model(folder, layers=2, hidden=64)
    torch.manual_seed(5)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()


def batch(lengths: list[int], answers: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Prompts padded on the left, each repeated for its answers, which are padded on the right."""
    generator = torch.Generator().manual_seed(3)
    width, keep = max(lengths), max(max(each) for each in answers)
    ids, mask = [], []
    for length, own in zip(lengths, answers, strict=True):
        prompt = torch.randint(20, 200, (length,), generator=generator)
        for size in own:
            answer = torch.randint(20, 200, (size,), generator=generator)
            ids.append(torch.cat([torch.full((width - length,), PAD), prompt, answer, torch.full((keep - size,), PAD)]))
            mask.append(torch.tensor([0] * (width - length) + [1] * (length + size) + [0] * (keep - size)))
    return torch.stack(ids), torch.stack(mask), keep


def test_logits_are_those_of_the_rows_one_by_one(model) -> None:
    ids, mask, keep = batch([9, 14, 3], [[4, 7], [1, 2], [7, 6]])
    plain = model(input_ids=ids, attention_mask=mask).logits[:, -keep - 1 : -1]
    shared = shared_logits(model, ids, mask, keep, block=2)
    real = mask[:, -keep:].bool()
    assert torch.allclose(plain[real], shared[real], atol=1e-5)
    assert not shared.isnan().any()


def test_gradients_are_those_of_the_rows_one_by_one(model) -> None:
    ids, mask, keep = batch([9, 5], [[4, 7, 2, 5], [1, 2, 6, 7]])
    real, weights = mask[:, -keep:].bool(), model.model.layers[0].self_attn.k_proj.weight
    plain = torch.autograd.grad(
        model(input_ids=ids, attention_mask=mask).logits[:, -keep - 1 : -1][real].sum(), weights
    )
    shared = torch.autograd.grad(shared_logits(model, ids, mask, keep, block=4)[real].sum(), weights)
    assert torch.allclose(plain[0], shared[0], rtol=1e-3, atol=1e-3 * plain[0].abs().max().item())


def test_generation_gives_the_same_tokens_from_one_prefill(model) -> None:
    ids, mask, keep = batch([9, 14, 3], [[1] * 4] * 3)
    ids, mask = ids[:, :-keep], mask[:, :-keep]
    greedy = GenerationConfig(max_new_tokens=12, do_sample=False, eos_token_id=END, pad_token_id=PAD)
    widths: list[tuple[int, ...]] = []
    hook = model.model.register_forward_pre_hook(
        lambda _, __, named: widths.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    plain = model.generate(input_ids=ids, attention_mask=mask, generation_config=greedy)
    once, widths = widths[0], []
    with shared_prefill(model):
        shared = model.generate(input_ids=ids, attention_mask=mask, generation_config=greedy)
    hook.remove()
    assert torch.equal(plain, shared)
    assert once == (12, 14)
    assert widths[0] == (3, 13)
    assert widths[1] == (12, 1)
    assert "generate" not in vars(model)
    assert can_share(model)


@pytest.mark.parametrize(
    ("runs", "expected"), [([4, 4], 4), ([8], 8), ([2, 4], 2), ([3, 2], 1), ([1, 1, 1], 1), ([8, 4, 4], 4)]
)
def test_block_is_what_every_run_of_equal_prompts_is_made_of(runs: list[int], expected: int) -> None:
    rows = [[place, 7] for place, run in enumerate(runs) for _ in range(run)]
    assert block_size(torch.tensor(rows)) == expected


TINY = Qwen3Config(
    hidden_size=192,
    num_attention_heads=6,
    num_key_value_heads=3,
    head_dim=32,
    intermediate_size=512,
    num_hidden_layers=6,
)
LARGE = Qwen3Config(
    hidden_size=2048, num_attention_heads=16, num_key_value_heads=8, head_dim=128, intermediate_size=6144
)


@pytest.mark.parametrize(
    ("config", "prompt", "completion", "expected"),
    [(TINY, 290, 96, True), (TINY, 290, 400, False), (LARGE, 450, 512, True), (LARGE, 450, 4096, False)],
)
def test_a_prompt_is_shared_where_that_is_less_work(
    config: Qwen3Config, prompt: int, completion: int, expected: bool
) -> None:
    assert worth_sharing(config, prompt, completion, block=8) is expected
