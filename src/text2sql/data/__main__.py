"""Prepare the data that a recipe names; a second run does nothing unless the recipe or its sources changed."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from text2sql.data.prepare import prepare
from text2sql.errors import run_command
from text2sql.prompts import PREPARED
from text2sql.recipe import load_recipe
from text2sql.recipe.command import Overrides, RecipePath, single


def data(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Prepare the data that a recipe names, and show what each split holds."""
    values = load_recipe(recipe, overrides or [])
    _show(prepare(values, str(recipe)), Path(values["output"]))


def _show(report: dict[str, Any], output: Path) -> None:
    """Print the report's main figures; prompt lengths are in tokens where the recipe names a tokenizer."""
    names = ("split", "examples", "rejected", "databases", "mean", "p95", "max", "too long")
    splits = report["splits"].items()
    unit = "tokens" if any("tokens" in found for _, found in splits) else "characters"
    table = Table(*names, caption=f"mean, p95 and max of the prompt's length in {unit}")
    notes = []
    for split, found in splits:
        prompts = found["tokens"]["prompt"] if "tokens" in found else found["prompt_chars"]
        lengths = [prompts.get(name, 0) for name in ("mean", "p95", "max")]
        counts = (found["kept"], sum(found["rejected"].values()), found["databases"])
        table.add_row(split, *map(str, (*counts, *lengths, found["over_max_prompt_chars"])))
        if found["without_worse_answer"]:
            unpaired = found["without_worse_answer"]
            notes.append(f"{split}: {unpaired} rows have no worse query and give no preference pair")
        if found["without_database"]:
            notes.append(
                f"{split}: {found['without_database']} rows have no database and are not in grpo_{split}.jsonl"
            )
        place = output / "rejected.jsonl"
        notes += [f"{split}: left out {n} rows: {reason} (see {place})" for reason, n in found["rejected"].items()]
    console = Console()
    console.print(table)
    for note in [*notes, f"report: {output / PREPARED}, data_hash {report['data_hash']}"]:
        console.print(note, soft_wrap=True)


if __name__ == "__main__":
    run_command(single(data))
