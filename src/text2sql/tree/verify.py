"""Checks a file of trees: its structure, and every attempt by running it again. Joins the files of shards."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from text2sql.artifacts import digest_of, write_json, write_note
from text2sql.errors import UserError
from text2sql.predictions import note_path, provenance
from text2sql.records import read_jsonl, write_jsonl
from text2sql.tree.execute import Judge
from text2sql.tree.nodes import Tree, distances
from text2sql.tree.options import TreeOptions

logger = logging.getLogger("text2sql.tree")
REPORT = "verification_report.json"
_AT_ONCE = 200
_SHOWN = 100


def read_trees(path: Path) -> list[Tree]:
    """The trees of a file.

    Raises:
        UserError: there is no such file, it has no trees, or a line is not one.
    """
    if not path.is_file():
        raise UserError(f"{path}: no trees there; grow some first (bash scripts/build_revision_tree.sh RECIPE)")
    trees = list(read_jsonl(path, Tree))
    if not trees:
        raise UserError(f"{path}: no trees in it")
    return trees


def faults(tree: Tree) -> Iterator[str]:
    """What is wrong with a tree's structure, in words."""
    ids = [node.id for node in tree.nodes]
    yield from (f"two nodes {key}" for key, count in Counter(ids).items() if count > 1)
    depths = {node.id: node.depth for node in tree.nodes}
    right = {node.id for node in tree.nodes if node.correct}
    known = distances([node for node in tree.nodes if node.parent is None or node.parent in depths])
    for node in tree.nodes:
        if node.parent != (node.id.rpartition(".")[0] or None):
            yield f"node {node.id}: its parent is {node.parent}"
        elif node.parent is not None and node.parent not in depths:
            yield f"node {node.id}: no parent {node.parent}"
        elif node.depth != (0 if node.parent is None else depths[node.parent] + 1):
            yield f"node {node.id}: depth {node.depth}"
        elif node.parent in right:
            yield f"node {node.id}: revises a right attempt"
        if node.id in known and node.distance != known[node.id]:
            yield f"node {node.id}: distance {node.distance}, not {known[node.id]}"


def verify(options: TreeOptions) -> dict[str, Any]:
    """Check structure and execution of this shard's trees; writes ``verification_report.json`` beside them and returns it.

    Raises:
        UserError: there are no trees, or no databases.
    """
    trees = read_trees(options.path)
    found = [f"two trees of {key}" for key, count in Counter(t.question_id for t in trees).items() if count > 1]
    found += [f"{tree.question_id}: {fault}" for tree in trees for fault in faults(tree)]
    oracle = options.feedback == "oracle"
    with Judge(options.database_root, options.protocol, options.jobs, options.timeout, oracle) as judge:
        for start in range(0, len(trees), _AT_ONCE):
            found += _differences(trees[start : start + _AT_ONCE], judge)
            judge.forget()
    nodes = sum(len(tree.nodes) for tree in trees)
    report = {"trees": len(trees), "nodes": nodes, "mismatches": len(found), "first": found[:_SHOWN]}
    write_json(options.path.with_name(REPORT), report)
    return report


def _differences(trees: Sequence[Tree], judge: Judge) -> Iterator[str]:
    places = [(tree, node) for tree in trees for node in tree.nodes]
    for (tree, node), judged in zip(places, judge.judge([(t.example, n.sql) for t, n in places]), strict=True):
        for key, value in judged.__dict__.items():
            if getattr(node, key) != value:
                yield f"{tree.question_id}: node {node.id}: {key} is {getattr(node, key)!r}, executed again {value!r}"


def merge(parts: Sequence[Path], output: Path) -> int:
    """Join files of trees whole; returns how many trees there are.

    Raises:
        UserError: a file is missing, two were not grown in the same way, or two have a tree of the same question.
    """
    notes = [provenance(part) for part in parts]
    for part, note in zip(parts, notes, strict=True):
        if note is None or digest_of(note) != digest_of(notes[0]):
            raise UserError(
                f"{part}: not grown as {parts[0]} was; trees of different models or settings are not joined"
            )
    seen: dict[str, Path] = {}
    for part in parts:
        for tree in read_trees(part):
            if tree.question_id in seen:
                raise UserError(f"{part}: has a tree of {tree.question_id}, as {seen[tree.question_id]} has")
            seen[tree.question_id] = part
    output.parent.mkdir(parents=True, exist_ok=True)
    write_note(note_path(output), notes[0] or {})
    write_jsonl(output, (tree.as_row() for part in parts for tree in read_jsonl(part, Tree)))
    logger.info("%d trees of %d files: %s", len(seen), len(parts), output)
    return len(seen)
