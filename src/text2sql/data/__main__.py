"""``python -m text2sql.data RECIPE [key=value ...]``: prepare the data that a recipe names."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from text2sql.data.prepare import REPORT, prepare
from text2sql.errors import run_command
from text2sql.recipe import load_recipe


def main() -> None:
    """Prepare, then show what each split holds."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.stdout.write(f"{__doc__}\n")
        return
    recipe = Path(sys.argv[1])
    values = load_recipe(recipe, sys.argv[2:])
    show(prepare(values, str(recipe)), Path(values["output"]))


def show(report: dict[str, Any], output: Path) -> None:
    """Print the report's main figures; prompt lengths are in tokens where the recipe names a tokenizer."""
    names = ("split", "examples", "rejected", "databases", "mean", "p95", "max", "too long")
    unit = "tokens" if any("tokens" in found for found in report["splits"].values()) else "characters"
    table = Table(*names, caption=f"mean, p95 and max of the prompt's length in {unit}")
    console = Console()
    for split, found in report["splits"].items():
        prompts = found["tokens"]["prompt"] if "tokens" in found else found["prompt_chars"]
        lengths = [prompts.get(name, 0) for name in ("mean", "p95", "max")]
        rejected = sum(found["rejected"].values())
        row = (found["kept"], rejected, found["databases"], *lengths, found["over_max_prompt_chars"])
        table.add_row(split, *map(str, row))
    console.print(table)
    for split, found in report["splits"].items():
        if found["without_worse_answer"]:
            console.print(
                f"{split}: {found['without_worse_answer']} rows have no worse query and give no preference pair"
            )
    for split, found in report["splits"].items():
        for reason, count in found["rejected"].items():
            console.print(f"{split}: left out {count} rows: {reason} (see {output / 'rejected.jsonl'})", soft_wrap=True)
    console.print(f"report: {output / REPORT}, data_hash {report['data_hash']}", soft_wrap=True)


if __name__ == "__main__":
    run_command(main)
