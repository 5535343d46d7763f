"""How fast a recipe trains, and how much of the machine it uses, against LLaMA-Factory with the settings we started from.

    python benchmarks/throughput.py recipes/tiny/spider_sft.yaml [--examples 480] [--ledger] [key=value ...]
    python benchmarks/throughput.py recipes/qwen3_1p7b/full_sft.yaml --random-weights Qwen3-1.7B --examples 4000

Both train the same conversations of Spider once through scripts/qwen3_1p7B_train.sh, with the recipe's model and method;
"as it was" has the batches of the project that this one descends from: cut-off 1,024, six random examples padded to the
longest, twice accumulated, no packing, no liger kernels, activations recomputed, ZeRO-3 for LoRA and ZeRO-2 for all weights
on GPUs. ``--random-weights`` makes a model of a published size, for machines without the real one.

Printed: real (not padding) tokens and samples a second, and model FLOPs utilisation: the operations that the real tokens
need (Chowdhery et al. 2022, PaLM, appendix B: 6 a weight and token, plus attention's; here half of attention's, since
attention is causal, and 4 a weight that does not learn), divided by what the machine can do in that time. On GPUs that is the
data sheet's dense bf16 figure, on a CPU a large matrix product just before; a CPU's seconds are CPU seconds of one thread.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import sample
import typer
from frame import ROOT, SHARED, Shared, ToLedger, record, run, show
from training_run import TrainingRun, train

from text2sql.artifacts import digest, whole_folder
from text2sql.checkpoint.shape import KNOWN
from text2sql.errors import UserError
from text2sql.plan.batch import training_flops
from text2sql.plan.estimate import estimate
from text2sql.recipe import load_recipe
from text2sql.recipe.command import Overrides, RecipePath
from text2sql.recipe.keys import is_lora

CUTOFF = 1024
AS_IT_WAS: dict[str, Any] = {
    "cutoff_len": CUTOFF,
    "packing": False,
    "neat_packing": False,
    "group_by_length": False,
    "global_batch": None,
    "per_device_train_batch_size": 6,
    "gradient_accumulation_steps": 2,
    "enable_liger_kernel": False,
    "flash_attn": "auto",
    "disable_gradient_checkpointing": False,
}
# Dense bf16 (fp16 where there is no bf16) with fp32 accumulation, 10^12 a second, from the makers' data sheets.
PEAK = [("H200", 989), ("H100 PCIe", 756), ("H100", 989), ("A100", 312), ("L40S", 362), ("L4", 121), ("A10G", 70)]
PEAK += [
    ("A10", 125),
    ("RTX 5090", 209),
    ("RTX 4090", 165),
    ("RTX 3090", 71),
    ("RTX A6000", 155),
    ("V100", 125),
    ("T4", 65),
]


@dataclass(frozen=True)
class Speed:
    """Real tokens and samples a second, utilisation (fraction), and the most memory a process (or GPU) held, in MB."""

    tokens: float
    samples: float
    utilisation: float
    memory_mb: float


def main(
    path: RecipePath,
    overrides: Overrides = None,
    random_weights: Annotated[str, typer.Option(help=f"Train a random model of this size: {', '.join(KNOWN)}.")] = "",
    data: Path = Path("data/prepared/spider/sft_train.jsonl"),
    examples: int = 480,
    shared: Shared = SHARED,
    output: Path = Path("outputs/bench/throughput"),
    ledger: ToLedger = False,
) -> None:
    """Measure, print, and append to the ledger if asked to."""
    recipe, given = load_recipe(path, overrides or []), dict(word.split("=", 1) for word in overrides or [])
    model = Path(str(recipe["model_name_or_path"]))
    if random_weights:
        model = _random_model(random_weights, output / f"{random_weights}-random", shared / "tokenizer_qwen")
    rows, _ = sample.draw(data, examples)
    common = {**given, **sample.write(output, rows), "model_name_or_path": model}
    on_cpu = bool(recipe.get("use_cpu"))
    before = {} if on_cpu else {"deepspeed": f"recipes/deepspeed/zero{3 if is_lora(recipe) else 2}.json"}
    peak = _cpu_peak(bool(recipe.get("bf16"))) if on_cpu else _gpu_peak()
    speeds: dict[str, Speed] = {}
    for name, keys in {"as it was": common | AS_IT_WAS | before, "recipe": common}.items():
        trained = train(path, {**keys, "output_dir": output / name.replace(" ", "_")})
        planned = estimate({**recipe, **keys}, path)
        lengths = sample.lengths(model, rows, int(keys.get("cutoff_len", recipe.get("cutoff_len", 2048))))
        operations = training_flops(planned.shape, planned.trainable if planned.work.targets else 0, lengths)
        speeds[name] = _speed(trained, lengths, operations, peak, on_cpu)
    _print(speeds, peak)
    if ledger:
        kind = random_weights or Path(str(recipe["model_name_or_path"])).name
        record(
            "bench.throughput",
            _metrics(speeds, peak),
            profile="cpu" if on_cpu else "gpu",
            split=f"spider_train_{kind}_{path.stem}",
            n=len(rows),
            data_hash=digest(output / "train.jsonl"),
            protocol="against batches of 6 padded, cut-off 1024" + (", CPU seconds" if on_cpu else ""),
        )


def _random_model(size: str, folder: Path, words: Path) -> Path:
    """A model folder of a published size with random bf16 weights and Qwen's vocabulary (else the tiny base's)."""
    if size not in KNOWN:
        raise UserError(f"--random-weights: {size!r} is none of {', '.join(KNOWN)}")
    if (folder / "config.json").is_file():
        return folder
    import torch
    from transformers import AutoTokenizer, Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

    shape = KNOWN[size]
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/tiny-base")
    if (words / "vocab.json").is_file():
        template = tokenizer.chat_template
        tokenizer = Qwen2TokenizerFast(str(words / "vocab.json"), str(words / "merges.txt"))
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        tokenizer.eos_token, tokenizer.chat_template = "<|im_end|>", template
    config = Qwen3Config(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate,
        tie_word_embeddings=shape.tied,
        rope_theta=1_000_000.0,
        eos_token_id=tokenizer.eos_token_id,
    )
    config.dtype = torch.bfloat16
    with whole_folder(folder) as partial:
        Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    return folder


def _cpu_peak(half: bool) -> float:
    """Operations a second of one thread: the best of a few products of 2,048 x 2,048 matrices."""
    import torch

    torch.set_num_threads(1)
    size, best = 2048, 0.0
    left, right = (torch.randn(size, size, dtype=torch.bfloat16 if half else torch.float32) for _ in range(2))
    for _ in range(5):
        start = time.process_time()
        left @ right
        best = max(best, 2 * size**3 / (time.process_time() - start))
    return best


def _gpu_peak() -> float:
    import torch

    if not torch.cuda.is_available():
        raise UserError("no GPU here: take a recipe of recipes/tiny")
    name = torch.cuda.get_device_name()
    for known, tera in PEAK:
        if known in name:
            return tera * 1e12 * torch.cuda.device_count()
    raise UserError(f"{name}: its peak is not known; add it to PEAK in {Path(__file__).name}")


def _speed(run: TrainingRun, lengths: Sequence[int], operations: float, peak: float, on_cpu: bool) -> Speed:
    share = run.timed_steps / run.steps
    seconds = run.cpu_seconds if on_cpu else run.seconds
    memory = (run.peak_bytes if on_cpu else run.gpu_peak_bytes) / 1e6
    return Speed(
        sum(lengths) * share / seconds, len(lengths) * share / seconds, operations * share / seconds / peak, memory
    )


def _print(speeds: dict[str, Speed], peak: float) -> None:
    first, rows = speeds["as it was"], []
    for name, speed in speeds.items():
        cells = [f"{speed.tokens:,.0f}", f"{speed.samples:.2f}", f"{speed.utilisation:.1%}", f"{speed.memory_mb:,.0f}"]
        rows.append([name, *cells, f"{speed.tokens / first.tokens:.2f}"])
    heads = ("real tokens/s", "samples/s", "utilisation", "peak memory MB", "ratio")
    show(f"The same examples once; this machine's peak {peak / 1e9:,.0f} GFLOP/s", heads, rows)


def _metrics(speeds: dict[str, Speed], peak: float) -> dict[str, float]:
    ours, before = speeds["recipe"], speeds["as it was"]
    return {
        "ratio": ours.tokens / before.tokens,
        "tokens_per_second": ours.tokens,
        "samples_per_second": ours.samples,
        "flops_utilisation": ours.utilisation,
        "peak_memory_mb": ours.memory_mb,
        "tokens_per_second_before": before.tokens,
        "flops_utilisation_before": before.utilisation,
        "peak_memory_mb_before": before.memory_mb,
        "machine_gflops": peak / 1e9,
    }


if __name__ == "__main__":
    run(main, __doc__)
