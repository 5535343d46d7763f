"""References in training data: each row gets the solved examples that a search finds for its question.

The same retriever serves inference, so that a prompt in training is one in use. It leaves out the row's own database, as
none is known there.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from text2sql.data.source import MadeRow, Rejected
from text2sql.rag.search import open_retriever
from text2sql.records import Example

_BLOCK = 256
Rows = Iterable[MadeRow | Rejected]


@contextmanager
def reference_adder(recipe: Path) -> Iterator[Callable[[Rows], Iterator[MadeRow | Rejected]]]:
    """A function from rows to the same rows with references, by a retrieval recipe.

    Raises:
        UserError: there is no such index, or it does not fit the recipe.
    """
    with open_retriever(recipe) as retriever:

        def add(rows: Rows) -> Iterator[MadeRow | Rejected]:
            waiting = list(rows)
            for start in range(0, len(waiting), _BLOCK):
                block = waiting[start : start + _BLOCK]
                examples = retriever.references([row.example for row in block if isinstance(row, MadeRow)])
                found = iter(examples)
                yield from (_with(row, next(found)) if isinstance(row, MadeRow) else row for row in block)

        yield add


def _with(row: MadeRow, example: Example) -> MadeRow:
    copies = tuple(replace(copy, references=example.references) for copy in row.copies)
    return row._replace(example=example, copies=copies)


def provenance(recipe: Path) -> str:
    """A digest of what decides the references."""
    with open_retriever(recipe) as retriever:
        return retriever.provenance
