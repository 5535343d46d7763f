"""The command ``text2sql select``."""

from rich.console import Console
from rich.table import Table

from text2sql.errors import run_command
from text2sql.recipe import load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, single
from text2sql.select.candidates import SelectOptions
from text2sql.select.choose import select


def main(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Choose among several answers by their results, by a reward model or both; a stopped run goes on."""
    options = options_from(SelectOptions, load_recipe(recipe, overrides or []), str(recipe))
    lines = select(options).lines
    if not lines:
        return
    table = Table("", title=f"{options.protocol}, n = {lines[0].score.n}", title_justify="left")
    for head in ("correct", "accuracy", "95 % interval", *["before repair"] * options.repair):
        table.add_column(head, justify="right")
    for line in lines:
        score = line.score
        cells = [f"{score.correct:.0f}", f"{score.accuracy:.1%}", f"{score.low:.1%} - {score.high:.1%}"]
        table.add_row(line.title, *cells, f"{line.raw.accuracy:.1%}" if line.raw else "")
    Console().print(table)


if __name__ == "__main__":
    run_command(single(main))
