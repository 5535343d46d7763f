"""Preference pairs from trees: of two attempts at a question, the one that is fewer revisions away from a right answer."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from text2sql.records import Example
from text2sql.sql.statement import canonical
from text2sql.tree.nodes import Node, Tree
from text2sql.tree.options import PairOptions, Strategy


@dataclass(frozen=True)
class Pair:
    """Two attempts at one question, the better one first."""

    example: Example
    chosen: Node
    rejected: Node

    @property
    def gap(self) -> str:
        """How much closer to a right answer the chosen one is: a number of revisions, or ``inf``."""
        return "inf" if self.rejected.distance is None else str(int(_far(self.rejected) - _far(self.chosen)))


def _far(node: Node) -> float:
    return inf if node.distance is None else node.distance


def by_distance(nodes: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    """Smaller over larger distance among a node, its parent, siblings and revisions; finite over infinite everywhere."""
    families: dict[str | None, list[Node]] = defaultdict(list)
    for node in nodes:
        families[node.parent].append(node)
    for node in nodes:
        near = [*families[node.id], *families[node.parent], *(other for other in nodes if other.id == node.parent)]
        yield from ((node, other) for other in near if _far(node) < _far(other))
        yield from ((other, node) for other in near if _far(other) < _far(node))
    reachable = [node for node in nodes if node.distance is not None]
    yield from ((node, other) for node in reachable for other in nodes if other.distance is None)


def deepest_correct(nodes: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    """The right attempts of the greatest depth over the wrong ones of the least: the published baseline."""
    right, wrong = [n for n in nodes if n.correct], [n for n in nodes if not n.correct]
    deep, shallow = max((n.depth for n in right), default=0), min((n.depth for n in wrong), default=0)
    yield from ((n, other) for n in right if n.depth == deep for other in wrong if other.depth == shallow)


STRATEGIES: dict[Strategy, Callable[[Sequence[Node]], Iterable[tuple[Node, Node]]]] = {
    "distance": by_distance,
    "deepest_correct": deepest_correct,
}


def take_pairs(trees: Iterable[Tree], options: PairOptions) -> list[Pair]:
    """The pairs of all trees that the options admit, in the order of trees."""
    pairs = [pair for tree in trees for pair in _of_tree(tree, options)]
    if options.balance == "none":
        return pairs
    kinds = [pair.example.db_id if options.balance == "database" else pair.example.difficulty for pair in pairs]
    most = max(2 * len(pairs) // max(len(set(kinds)), 1), 1)
    taken: Counter[str] = Counter()
    kept = []
    for kind, pair in zip(kinds, pairs, strict=True):
        taken[kind] += 1
        if taken[kind] <= most:
            kept.append(pair)
    return kept


def _of_tree(tree: Tree, options: PairOptions) -> list[Pair]:
    """Right attempts over wrong ones first, then the larger gap; equal texts and equal results make no second pair.

    A query that was tried in several places counts at its nearest, so that no two pairs contradict each other.
    """
    nearest: dict[str, float] = {}
    for node in tree.nodes:
        nearest[canonical(node.sql)] = min(_far(node), nearest.get(canonical(node.sql), inf))
    found = [Pair(tree.example, *pair) for pair in STRATEGIES[options.strategy](tree.nodes)]
    found = [p for p in found if nearest[canonical(p.chosen.sql)] < nearest[canonical(p.rejected.sql)]]
    found.sort(key=lambda pair: (not pair.chosen.correct, -_far(pair.rejected), _far(pair.chosen), pair.rejected.id))
    texts, results = set(), set()
    kept = []
    for pair in found:
        text = (canonical(pair.chosen.sql), canonical(pair.rejected.sql))
        result = (pair.chosen.result, pair.rejected.result)
        if text in texts or result in results or result[0] == result[1] or not _fits(pair, options):
            continue
        texts.add(text)
        results.add(result)
        kept.append(pair)
    return kept[: options.per_question]


def _fits(pair: Pair, options: PairOptions) -> bool:
    short, long = sorted((len(pair.chosen.sql), len(pair.rejected.sql)))
    return short > 0 and long <= options.max_chars and long <= options.max_length_ratio * short
