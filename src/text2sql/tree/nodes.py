"""What a tree is, its JSON form (one tree a line), and the distance of its attempts from a right one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from text2sql.records import Example


@dataclass(frozen=True)
class Node:
    """One attempt.

    ``id`` is its place: ``0.2`` is the third revision of the first attempt, ``0``. ``text`` is the completion, ``times`` how
    many samples of the same parent gave this SQL. ``error`` is an error class of sqleval's, ``feedback`` what a revision is
    told (empty for a right one), ``result`` a digest that equal results share. ``distance``: 0 for a right attempt, else one
    more than the least of its revisions'; None where no revision leads to a right one.
    """

    id: str
    parent: str | None
    depth: int
    sql: str
    text: str
    times: int
    correct: bool
    error: str | None
    feedback: str
    result: str
    distance: int | None = None


@dataclass(frozen=True)
class Tree:
    """All attempts at one question, parents before their revisions."""

    example: Example
    nodes: tuple[Node, ...]

    @property
    def question_id(self) -> str:
        """The question's."""
        return self.example.question_id

    def as_row(self) -> dict[str, Any]:
        """As it is written."""
        return {"example": self.example.columns, "nodes": [asdict(node) for node in self.nodes]}


def distances(nodes: Sequence[Node]) -> dict[str, int | None]:
    """The distance of each node, by id, from ``correct`` and ``parent`` alone."""
    found: dict[str, int | None] = {}
    nearest: dict[str, int] = {}
    for node in sorted(nodes, key=lambda node: -node.depth):
        own = 0 if node.correct else nearest[node.id] + 1 if node.id in nearest else None
        found[node.id] = own
        if own is not None and node.parent is not None:
            nearest[node.parent] = min(own, nearest.get(node.parent, own))
    return found


def measured(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes with their distances."""
    known = distances(nodes)
    return tuple(replace(node, distance=known[node.id]) for node in nodes)
