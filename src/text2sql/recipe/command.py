"""What the commands that take a recipe have in common: their arguments, and how one function becomes a program."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

RecipePath = Annotated[Path, typer.Argument(help="A YAML file of recipes/.", metavar="RECIPE")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Keys of the recipe to change.", metavar="[key=value]...")]


def group(help: str) -> typer.Typer:
    """An application of several commands."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=help)


def single(function: Callable[..., Any]) -> typer.Typer:
    """An application of one command; its help is the function's docstring."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(no_args_is_help=True)(function)
    return app
