"""The console command ``text2sql``: one table of commands, each of which is imported only when it is called.

Importing everything takes seconds, because some commands need torch; the overview must not.
"""

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from text2sql.errors import run_command

HOME = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Command:
    """``target`` is ``module:function``, or ``module:app`` for a group; ``help`` is its line in the overview.

    ``at_home``: runs in the repository, where recipes and their paths start; others run where the user is.
    """

    target: str
    help: str
    at_home: bool = True


COMMANDS = {
    "data": Command("text2sql.data.__main__:data", "Prepare a data source for training and evaluation."),
    "describe": Command(
        "text2sql.data.describe:describe_command", "Turn schemas told in words into CREATE TABLE text."
    ),
    "synth": Command("text2sql.synth.__main__:synth", "Write questions with SQL about your database.", at_home=False),
    "rag": Command("text2sql.rag.__main__:app", "Index solved examples, and find those like a question."),
    "train": Command("text2sql.train.__main__:train", "Train by a recipe; a stopped run goes on."),
    "sweep": Command("text2sql.train.sweep:sweep", "Train with several values of keys, and rank the runs."),
    "merge": Command("text2sql.train.merge:merge", "Merge a LoRA adapter into its base model."),
    "mg2hf": Command("text2sql.checkpoint.convert:mg2hf", "Convert a training checkpoint to Hugging Face."),
    "gguf": Command("text2sql.checkpoint.gguf:main", "Write a model as GGUF, for Ollama and LM Studio."),
    "plan": Command("text2sql.plan.__main__:plan", "Estimate memory and batch of a recipe: does it fit?"),
    "infer": Command("text2sql.infer:main", "Answer a file of questions with a model."),
    "select": Command("text2sql.select.__main__:main", "Choose among several answers by voting on their results."),
    "serve": Command("text2sql.serve.__main__:main", "Answer questions over HTTP, with a page."),
    "ask": Command("text2sql.serve.terminal:main", "Ask a database at the terminal.", at_home=False),
    "mcp": Command("text2sql.serve.mcp:main", "Offer databases to assistants (MCP)."),
    "evaluate": Command("text2sql.evaluate.__main__:score", "Score predictions by executing them."),
    "evaluate-process": Command("text2sql.evaluate.__main__:process", "Process metrics of explained answers."),
    "benchmark": Command("text2sql.benchmark.__main__:main", "Measure a model on every test set that is there."),
    "judge": Command("text2sql.evaluate.__main__:judge", "Let a language model judge explained answers."),
    "agree": Command("text2sql.evaluate.__main__:agree", "Compare two files of predictions."),
    "tree": Command("text2sql.tree.__main__:app", "Grow trees of revisions; make preference pairs of them."),
    "rm2hf": Command("text2sql.checkpoint.value_head:rm2hf", "Convert a reward model to Hugging Face."),
    "rewards": Command("text2sql.rewards.__main__:app", "List rewards, score answers, check golds.", at_home=False),
    "report": Command("text2sql.report.__main__:app", "Render tables and figures from the results ledger."),
    "fetch": Command("text2sql.fetch:fetch_command", "Download a model or a data set from a hub.", at_home=False),
    "tiny-base": Command("text2sql.tiny_base.__main__:app", "Make the tiny base model of the CPU profile."),
}


def load(name: str) -> typer.Typer:
    """The application behind a command."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return found
    from text2sql.recipe.command import single

    return single(found)


def overview() -> typer.Typer:
    """All commands with their help, none of which does anything: :func:`main` calls the real ones."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        rich_markup_mode=None,  # rich takes longer to import than all the rest
        help="Fine-tune, run and evaluate text-to-SQL models by recipes.",
        epilog="text2sql COMMAND --help explains a command; scripts/ runs them in an environment that it makes.",
    )
    for name, command in COMMANDS.items():
        app.command(name, help=command.help)(lambda: None)
    return app


def main() -> None:
    """Run ``text2sql COMMAND ...``."""
    name, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if name not in COMMANDS:
        run_command(overview(), prog_name="text2sql")
        return
    if COMMANDS[name].at_home and (HOME / "recipes").is_dir():
        if Path.cwd() != HOME:  # a script stands there already, and has said where the user typed
            os.environ["TEXT2SQL_CALLER_DIR"] = str(Path.cwd())
        os.chdir(HOME)
    run_command(load(name), args=arguments, prog_name=f"text2sql {name}")
