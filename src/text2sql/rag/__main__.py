"""The commands ``text2sql rag build | search | add | train``."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from text2sql.errors import UserError, run_command
from text2sql.rag import RagOptions
from text2sql.recipe import load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, group
from text2sql.recipe.load import from_caller
from text2sql.records import Example, read_jsonl, write_jsonl

logger = logging.getLogger("text2sql.rag")
app = group("Index solved examples, and find those that resemble a question.")
Recipe = Annotated[Path, typer.Option(help="A retrieval recipe.")]
_RECIPE = Path("recipes/qwen3_1p7b/rag.yaml")
_BLOCK = 256


def _options(recipe: Path, overrides: list[str] | None) -> RagOptions:
    return options_from(RagOptions, load_recipe(recipe, overrides or []), str(recipe))


@app.command()
def build(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Index a recipe's examples; a stopped run goes on, a whole index is left as it is."""
    from text2sql.rag.index import build as build_index

    build_index(_options(recipe, overrides))


@app.command()
def search(
    question: Annotated[str, typer.Argument(help="A question.")],
    overrides: Overrides = None,
    recipe: Recipe = _RECIPE,
    database: Annotated[str, typer.Option(help="The database it asks, whose own examples are left out.")] = "",
) -> None:
    """Show the solved examples that resemble a question."""
    from text2sql.rag.search import Retriever

    if not question.strip():
        raise UserError("the question is empty")
    with Retriever(_options(recipe, overrides)) as retriever:
        found = retriever.find([question], [database])[0]
    table = Table("score", "database", "question", "SQL", show_lines=True)
    for row in found:
        table.add_row(f"{row.score:.4f}", row.db_id, row.question, row.sql)
    Console().print(table)


@app.command()
def add(
    recipe: RecipePath,
    questions: Annotated[Path, typer.Option(help="Prepared examples.")],
    output: Annotated[Path, typer.Option(help="The file to write: the same with references.")],
    overrides: Overrides = None,
) -> None:
    """Add references to a file of questions, for ``text2sql infer``."""
    from text2sql.rag.search import Retriever

    examples = list(read_jsonl(Path(from_caller(str(questions))), Example))
    with Retriever(_options(recipe, overrides)) as retriever:

        def rows() -> Iterator[Any]:
            for start in track(range(0, len(examples), _BLOCK), "retrieving"):
                yield from retriever.references(examples[start : start + _BLOCK])

        count = write_jsonl(output, rows())
    logger.info("%d questions with references: %s", count, output)


@app.command()
def train(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Train an embedder or a reranker by a recipe; a stopped run goes on."""
    from text2sql.rag.training import TrainingOptions
    from text2sql.rag.training import train as train_model

    train_model(options_from(TrainingOptions, load_recipe(recipe, overrides or []), str(recipe)))


if __name__ == "__main__":
    run_command(app)
