"""The command ``text2sql tree``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from text2sql.errors import run_command
from text2sql.recipe import load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, group
from text2sql.recipe.load import from_caller
from text2sql.tree.options import ScoreOptions, TreeOptions

app = group("Grow trees of revisions, verify them, and make preference pairs and lessons of them.")


def _options(recipe: Path, overrides: list[str] | None) -> TreeOptions:
    return options_from(TreeOptions, load_recipe(recipe, overrides or []), str(recipe))


@app.command()
def build(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Grow a tree for each question; a stopped run goes on where it was."""
    from text2sql.tree.grow import build as grow_trees
    from text2sql.tree.summary import summarize

    options = _options(recipe, overrides)
    growth = grow_trees(options)
    found = summarize(options, growth)
    table = Table("", "", title=f"{options.path}", title_justify="left", show_header=False)
    for name, value in found.items():
        table.add_row(name.replace("_", " "), f"{value:,.3g}" if value < 1 else f"{value:,.0f}")
    Console().print(table)


@app.command()
def merge(
    output: Annotated[Path, typer.Argument(help="The file to write.")],
    parts: Annotated[list[Path], typer.Argument(help="The shards' files.")],
) -> None:
    """Join the trees of shards; refuses two trees of one question."""
    from text2sql.tree.verify import merge as join

    join([Path(from_caller(str(part))) for part in parts], output)


@app.command()
def verify(recipe: RecipePath, overrides: Overrides = None) -> int:
    """Check the structure of trees and run every attempt again; ends with 1 where something differs."""
    from text2sql.tree.verify import verify as check

    report = check(_options(recipe, overrides))
    Console().print(f"{report['trees']} trees, {report['nodes']} nodes, {report['mismatches']} mismatches")
    for line in report["first"][:10]:
        Console().print(line, markup=False)
    return 1 if report["mismatches"] else 0


@app.command()
def pairs(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Write preference pairs for stages dpo and rm, split by database."""
    from text2sql.tree.export import export_pairs

    export_pairs(_options(recipe, overrides))


@app.command()
def lessons(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Write a data set that teaches to revise a wrong query."""
    from text2sql.tree.export import export_lessons

    export_lessons(_options(recipe, overrides))


@app.command()
def score(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Say how well a reward model orders pairs that it was not trained on."""
    from text2sql.tree.score import score_pairs

    score_pairs(options_from(ScoreOptions, load_recipe(recipe, overrides or []), str(recipe)))


if __name__ == "__main__":
    run_command(app)
