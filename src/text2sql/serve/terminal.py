"""The command ``text2sql ask``: questions about one database at the terminal."""

import atexit
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from text2sql.errors import run_command
from text2sql.recipe import load_recipe, options_from
from text2sql.recipe.command import single
from text2sql.recipe.load import from_caller
from text2sql.serve.answer import Answerer
from text2sql.serve.databases import Result
from text2sql.serve.error import ServeError
from text2sql.serve.opened import open_answerer
from text2sql.serve.options import ServeOptions
from text2sql.serve.question import Answer, Question, Turn

NAME = "database"
RECIPE = Path("recipes/tiny/serve.yaml")
_HELP = "A later question may follow up on the one before. /new forgets the conversation, /schema shows the tables, /quit ends."
_SHOWN = 50


def main(
    db: Annotated[Path, typer.Option(help="A SQLite file; it is only read.")],
    question: Annotated[
        str, typer.Argument(help="Without one, a session begins, or questions are read line by line.")
    ] = "",
    recipe: Annotated[Path, typer.Option(help="A serving recipe: which model, which prompt.")] = RECIPE,
    change: Annotated[list[str] | None, typer.Option("--set", help="A key of the recipe to change: key=value.")] = None,
    samples: Annotated[int, typer.Option("--samples", "-n", help="Answers that vote.")] = 1,
) -> None:
    """Ask a SQLite database a question in English or Chinese; shows SQL and rows."""
    loaded = load_recipe(recipe, change or [])
    own = {"databases": {NAME: from_caller(str(db))}, "database_root": None, "toy_databases": None, "questions": {}}
    options = options_from(ServeOptions, {**loaded, **own}, str(recipe))
    with open_answerer(options, vllm=False) as answerer:
        session = Session(answerer, samples)
        if question:
            session.ask(question)
        elif sys.stdin.isatty():
            session.talk()
        else:
            for line in sys.stdin:
                session.take(line)


class Session:
    """A conversation: questions and the SQL that answered them."""

    def __init__(self, answerer: Answerer, samples: int) -> None:
        self.answerer, self.samples = answerer, samples
        self.console = Console()
        self.turns: list[Turn] = []

    def talk(self) -> None:
        """Ask and answer until the input ends; earlier lines come back with the arrow keys, also in later sessions."""
        _keep_lines()
        self.console.print(_HELP, style="dim")
        while True:
            try:
                line = input("> ")
            except EOFError:
                return
            if line.strip() in ("/quit", "/exit"):
                return
            self.take(line)

    def take(self, line: str) -> None:
        """A line of a session: a question, or a command; what cannot be answered does not end the session."""
        text = line.strip()
        if text == "/new":
            self.turns = []
        elif text == "/schema":
            databases = self.answerer.databases
            self.console.print(Syntax(databases.text(NAME, databases.schema(NAME)), "sql", word_wrap=True))
        elif text:
            try:
                self.ask(text)
            except ServeError as error:
                self.console.print(Text(f"error: {error}", style="red"))

    def ask(self, text: str) -> None:
        """Ask, and show what comes.

        Raises:
            ServeError: the question cannot be asked, or the model does not answer.
        """
        asked = Question(text, NAME, history=tuple(self.turns), n=self.samples, execute=True)
        with self.console.status("answering"):
            answer = self.answerer.ask_whole(asked)
        self._show(answer)
        if answer.sql:
            self.turns = [*self.turns, Turn(text, answer.sql)][-8:]

    def _show(self, answer: Answer) -> None:
        out = self.console
        if answer.reasoning:
            out.print(Text(answer.reasoning, style="dim"))
        out.print(Syntax(answer.sql, "sql", word_wrap=True, background_color="default") if answer.sql else "no SQL")
        if answer.share is not None:
            out.print(f"{answer.share:.0%} of {self.samples} samples agree", style="dim", highlight=False)
        for note in (*answer.repairs, *answer.issues):
            out.print(Text(note, style="yellow"))
        if answer.failure:
            out.print(Text(f"{answer.failure}", style="red"))
        if answer.result:
            _print_rows(out, answer.result)


def _print_rows(out: Console, result: Result) -> None:
    table = Table(show_lines=False)
    for name in result.columns:
        table.add_column(Text(name))
    for row in result.rows[:_SHOWN]:
        table.add_row(*(Text("NULL" if cell is None else str(cell)) for cell in row))
    out.print(table)
    count, more = len(result.rows), " and more" * result.truncated
    shown = f", the first {_SHOWN} shown" * (count > _SHOWN)
    out.print(f"{count} row{'s' * (count != 1)}{more}{shown}", style="dim", highlight=False)


def _keep_lines() -> None:
    """Arrow keys for earlier lines, where Python has them."""
    with suppress(ImportError, OSError):
        import readline

        file = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "text2sql/asked")
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            readline.read_history_file(file)
        readline.set_history_length(1000)
        atexit.register(readline.write_history_file, file)


if __name__ == "__main__":
    run_command(single(main))
