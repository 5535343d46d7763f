"""What the commands that take a recipe have in common: their arguments, and how they start."""

import logging
from pathlib import Path
from typing import Annotated

import typer

RecipePath = Annotated[Path, typer.Argument(help="A YAML file of recipes/.", metavar="RECIPE")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Keys of the recipe to change.", metavar="[key=value]...")]


def command_app(help: str | None = None) -> typer.Typer:
    """An application for one command, or for several where ``help`` describes them together."""
    logging.getLogger("text2sql").setLevel(logging.INFO)
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=help)
