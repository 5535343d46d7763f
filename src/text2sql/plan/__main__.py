"""Print an estimate of a recipe's parameters, memory and batch, and whether it fits."""

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from text2sql.errors import UserError, run_command
from text2sql.plan.advice import advise
from text2sql.plan.estimate import SLACK, Estimate, estimate
from text2sql.plan.layout import gpu_count, gpu_memory
from text2sql.recipe import load_recipe
from text2sql.recipe.command import Overrides, RecipePath, single
from text2sql.recipe.keys import whole_number

_GB = 1e9


def plan(
    recipe: RecipePath,
    overrides: Overrides = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs (processes on a CPU). Default: this machine's.")] = None,
    memory: Annotated[
        float | None, typer.Option(min=0.1, help="GB (10^9 bytes) of each. Default: this machine's.")
    ] = None,
) -> None:
    """Estimate a recipe's parameters, memory and batch, and whether it fits.

    Exit code 0: it fits; 1: it does not; 2: something is wrong with the recipe.
    """
    values = load_recipe(recipe, overrides or [])
    if "stage" not in values:
        raise UserError(f"{recipe}: no training recipe (it has no stage); plan one of those")
    found, size = (gpus, memory) if gpus and memory else _machine(bool(values.get("use_cpu")))
    processes, memory = gpus or found, memory or size
    result = estimate(values, recipe, processes)
    console = Console()
    console.print(_model_table(result), _memory_table(result, processes), _moments_table(result), _batch_table(result))
    if memory is None:
        console.print("No GPU here: give --memory GB for a verdict.")
        return
    unit = "a process" if values.get("use_cpu") else "a GPU"
    share = f", of which vLLM takes {100 * result.vllm_share:.0f} %" if result.vllm_share else ""
    if result.fits(memory):
        console.print(f"[green]Fits[/]: {result.peak / _GB:.1f} of {memory:.1f} GB {unit}{share}.")
        return
    console.print(f"[red]Does not fit[/]: {result.peak / _GB:.1f} GB needed, {memory:.1f} GB {unit} given{share}.")
    for change, changed in advise(values, recipe, processes, memory):
        verdict = "fits" if changed.fits(memory) else "still too much"
        console.print(f"  {change}: {changed.peak / _GB:.1f} GB, {verdict}", highlight=False)
    raise typer.Exit(1)


def _machine(cpu: bool) -> tuple[int, float | None]:
    """Processes and GB of each that this machine offers."""
    if cpu:
        processes = whole_number(os.environ, "NPROC_PER_NODE", 1)
        return processes, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / processes / _GB
    gpus = gpu_count()
    return (gpus, gpu_memory() / _GB) if gpus else (1, None)


def _table(title: str, unit: str, rows: list[tuple[str, str, str]]) -> Table:
    table = Table("", Column(unit, justify="right"), "", title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def _model_table(result: Estimate) -> Table:
    shape = result.shape
    heads = f"{shape.heads} heads on {shape.kv_heads} of {shape.head_dim}"
    words = f"layers of {shape.hidden}, {heads}, vocabulary {shape.vocab:,}{', tied' if shape.tied else ''}"
    rows = [
        ("weights", f"{result.parameters:,}", result.source),
        ("trained", f"{result.trainable:,}", f"{100 * result.trainable / result.parameters:.2f} %"),
        ("layout", str(result.layout.processes), result.layout.describe()),
        ("shape", str(shape.layers), words),
    ]
    return _table("Model", "Count", rows)


def _memory_table(result: Estimate, processes: int) -> Table:
    states, work = result.states, result.work
    how = f"{'recomputed' if work.checkpointing else 'all kept'}, attention: {work.attention}"
    logits = f"logits over {result.shape.vocab:,} entries"
    loss = "fused with the output head" if work.fused_loss else logits
    parts = [
        ("weights", states.weights, ""),
        ("optimizer", states.optimizer, "moments and master copy"),
        ("buffers", states.buffers, "reduction, gathered weights"),
        ("reference model", result.reference, ""),
        ("gradients", states.gradients, ""),
        ("optimizer's step", states.step, "copies while it steps"),
        ("activations", result.activations, f"{work.sequences} x {work.length} tokens, {how}"),
        ("attention mask", result.mask, ""),
        ("loss", result.loss, loss),
        ("generation", result.generation, "keys and values"),
        ("evaluation", result.evaluation, _evaluated(result, logits)),
        ("slack", SLACK * result.moments[result.worst], "of allocators"),
        ("framework", result.reserve, ""),
    ]
    rows = [(name, f"{size / _GB:.2f}", note) for name, size, note in parts if size >= 5e6]
    rows.append(("[bold]peak[/]", f"[bold]{result.peak / _GB:.2f}[/]", f"at the {result.worst}"))
    return _table("Memory of one process" if processes > 1 else "Memory", "GB", rows)


def _evaluated(result: Estimate, logits: str) -> str:
    work = result.evaluated
    if work is None:
        return ""
    what = "keys and values" if result.generation or result.vllm_share else logits
    return f"{work.sequences} x {work.length} tokens (per_device_eval_batch_size), {what}"


def _moments_table(result: Estimate) -> Table:
    """What each moment needs, slack and framework included; not all parts exist at the same time."""
    return _table("Moments", "GB", [(moment, f"{result.needed(moment) / _GB:.2f}", "") for moment in result.moments])


def _batch_table(result: Estimate) -> Table:
    batch, lengths = result.batch, result.batch.lengths
    split = f"{batch.device_sequences} x {batch.accumulation} accumulated x {batch.data} data parallel"
    examples = f"{lengths.examples:,} examples" if lengths else "the data are not prepared"
    if lengths and batch.steps_per_epoch is None:
        examples += "; their lengths need the model's tokenizer"
    rows = [
        ("sequences a step", f"{batch.global_sequences:,}", split),
        ("tokens a step", f"{batch.tokens:,}", "at most, padding included"),
    ]
    if batch.real_tokens is not None and lengths:
        text = f"examples: mean {lengths.mean:.0f}, longest {lengths.longest}"
        rows.append(("of these text", f"{batch.real_tokens:,}", text))
    rows.append(("steps an epoch", f"{batch.steps_per_epoch:,}" if batch.steps_per_epoch else "?", examples))
    if batch.steps is not None:
        rows.append(("steps", f"{batch.steps:,}", ""))
    return _table("Batch", "Count", rows)


if __name__ == "__main__":
    run_command(single(plan))
