"""What a file of trees holds, in figures."""

from text2sql import ledger
from text2sql.artifacts import digest
from text2sql.tree.grow import Growth
from text2sql.tree.options import TreeOptions
from text2sql.tree.verify import read_trees


def summarize(options: TreeOptions, growth: Growth) -> dict[str, float]:
    """Counts of trees and nodes, and shares; appends the ledger row that the recipe asks for.

    ``right_at_once`` is the share of questions with a right first attempt, ``repaired`` the share of the others that a
    revision answers; ``revisions_right`` the share of all revisions that are right.

    Raises:
        UserError: there are no trees.
    """
    trees = read_trees(options.path)
    roots = [any(node.correct for node in tree.nodes if node.parent is None) for tree in trees]
    later = [any(node.correct for node in tree.nodes) for tree, right in zip(trees, roots, strict=True) if not right]
    revisions = [node.correct for tree in trees for node in tree.nodes if node.parent is not None]
    found: dict[str, float] = {
        "trees": len(trees),
        "nodes": sum(len(tree.nodes) for tree in trees),
        "right_at_once": _share(roots),
        "repaired": _share(later),
        "revisions_right": _share(revisions),
        "generator_calls": growth.calls,
        "prompts": growth.asked,
        "queries_executed": growth.executed,
        "sql_share": round(growth.sql_share, 6),
    }
    if options.experiment and growth.trees:
        row = ledger.new_row(
            options.experiment,
            profile=options.profile,
            seed=options.seed,
            split=trees[0].example.split,
            n=growth.trees,
            metrics=found,
            data_hash=digest(options.path),
            seconds=growth.seconds,
            protocol=options.protocol,
            decoding=options.words,
        )
        ledger.append(options.ledger, row)
    return found


def _share(hits: list[bool]) -> float:
    return round(sum(hits) / len(hits), 6) if hits else 0.0
