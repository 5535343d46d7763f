"""The command ``text2sql mcp``: the same databases for assistants, by the Model Context Protocol.

Standard input and output are the protocol's; whatever else is said goes to the log, which is standard error.
"""

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Literal, ParamSpec, TypeVar

import typer
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from text2sql.errors import run_command
from text2sql.recipe import load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, single
from text2sql.serve import wire
from text2sql.serve.answer import Answerer
from text2sql.serve.error import ServeError
from text2sql.serve.opened import open_answerer
from text2sql.serve.options import ServeOptions
from text2sql.serve.question import Question

Given = ParamSpec("Given")
Found = TypeVar("Found")
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_INSTRUCTIONS = "Read-only SQLite databases. list_databases names them, ask writes SQL for a question and runs it."


def create_server(answerer: Answerer) -> MCPServer:
    """A server with four tools: list_databases, get_schema, ask, run_sql."""
    server, databases = MCPServer("text2sql", instructions=_INSTRUCTIONS), answerer.databases

    def tool(function: Callable[Given, Found]) -> Callable[Given, Found]:
        @wraps(function)
        def told(*args: Given.args, **kwargs: Given.kwargs) -> Found:
            try:
                return function(*args, **kwargs)
            except ServeError as error:
                raise ToolError(f"{error.kind}: {error}") from error

        return server.tool(annotations=_READS)(told)

    @tool
    def list_databases() -> list[str]:
        """Names of the databases that can be asked."""
        return list(databases.files)

    @tool
    def get_schema(database: str) -> str:
        """Tables, columns and keys of a database, as CREATE TABLE text."""
        return databases.text(database, databases.schema(database))

    @tool
    def ask(
        database: str,
        question: Annotated[str, Field(description="In English or Chinese.")],
        evidence: Annotated[str, Field(description="Outside knowledge that the question relies on.")] = "",
        samples: Annotated[int, Field(ge=1, description="Answers that vote; 1 is one greedy answer.")] = 1,
    ) -> wire.AskOut:
        """Let the text-to-SQL model answer a question, and run its SQL: SQL, rows, what was repaired, what to check."""
        answer = answerer.ask_whole(Question(question, database, evidence=evidence, n=samples, execute=True))
        return wire.answer_out(answer)

    @tool
    def run_sql(database: str, sql: str, format: Literal["json", "csv"] = "json") -> wire.ResultOut:
        """Run one SELECT, read-only, with limits on time and rows."""
        return wire.result_out(databases.run(database, sql), format)

    return server


def main(
    recipe: RecipePath,
    overrides: Overrides = None,
    transport: Annotated[
        Literal["stdio", "streamable-http"], typer.Option(help="streamable-http listens on the recipe's port.")
    ] = "stdio",
) -> None:
    """Offer a recipe's databases to assistants by the Model Context Protocol, over standard input and output."""
    options = options_from(ServeOptions, load_recipe(recipe, overrides or []), str(recipe))
    if transport != "stdio" and not options.is_local:
        raise typer.BadParameter("over HTTP it listens on this machine only: host=127.0.0.1")
    with open_answerer(options, vllm=False) as answerer:
        server = create_server(answerer)
        if transport == "stdio":
            server.run("stdio")
        else:
            server.run("streamable-http", host=options.host, port=options.port)


if __name__ == "__main__":
    run_command(single(main))
