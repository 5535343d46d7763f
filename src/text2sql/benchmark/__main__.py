"""The command ``text2sql benchmark``."""

from rich.console import Console

from text2sql.benchmark.options import BenchmarkOptions
from text2sql.benchmark.page import table, write_report
from text2sql.benchmark.run import benchmark
from text2sql.errors import run_command
from text2sql.recipe import load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, single


def main(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Measure a model on every test set that is there, greedy and voted, beside published figures; a stopped run goes on."""
    options = options_from(BenchmarkOptions, load_recipe(recipe, overrides or []), str(recipe))
    outcome = benchmark(options)
    console = Console()
    console.print(table(outcome.results))
    for name, reason in outcome.skipped.items():
        console.print(f"left out: {name}: {reason}", soft_wrap=True)
    console.print(f"page: {write_report(options, outcome)}", soft_wrap=True)


if __name__ == "__main__":
    run_command(single(main))
