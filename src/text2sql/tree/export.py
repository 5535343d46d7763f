"""Training files of pairs and lessons as LLaMA-Factory reads them, split by database."""

import logging
from collections.abc import Sequence
from random import Random
from typing import Any

from text2sql.artifacts import digest, write_json, write_note
from text2sql.data.options import Format
from text2sql.data.parts import dataset_info, file_of
from text2sql.errors import UserError
from text2sql.prompts import AnswerFormat, ask, gold_answer
from text2sql.records import write_jsonl
from text2sql.tree.lessons import lessons
from text2sql.tree.options import LessonOptions, PairOptions, TreeOptions
from text2sql.tree.pairs import Pair, take_pairs
from text2sql.tree.verify import read_trees

logger = logging.getLogger("text2sql.tree")
_NOTE = "export_report.json"


def export_pairs(options: TreeOptions) -> dict[str, int]:
    """Write the pairs of the trees as a ranking data set; returns how many rows each split has.

    Raises:
        UserError: there are no trees, no pairs in them, or the recipe has no ``pairs``.
    """
    wanted = options.pairs
    if wanted is None:
        raise UserError("the recipe has no pairs; see recipes/tiny/tree.yaml")
    pairs = take_pairs(read_trees(options.path), wanted)
    rows = [_ranking(pair, options.answer_format, options.system_prompt) for pair in pairs]
    return _write(rows, wanted, "ranking", options)


def export_lessons(options: TreeOptions) -> dict[str, int]:
    """Write the rows that teach to revise; returns how many each split has.

    Raises:
        UserError: there are no trees, or the recipe has no ``lessons``.
    """
    if options.lessons is None:
        raise UserError("the recipe has no lessons; see recipes/tiny/tree.yaml")
    rows = lessons(read_trees(options.path), options, options.lessons, options.seed)
    return _write(rows, options.lessons, "messages", options)


def _ranking(pair: Pair, how: AnswerFormat, system: str | None) -> dict[str, Any]:
    """A row of the ranking format; LLaMA-Factory leaves out the columns behind ``rejected``."""
    nodes = {"chosen": pair.chosen, "rejected": pair.rejected}
    texts = {key: gold_answer(node.sql) if how == "plain" else node.text for key, node in nodes.items()}
    example = pair.example
    return {
        "messages": ask(example, how, system),
        **{key: {"role": "assistant", "content": text} for key, text in texts.items()},
        "question_id": example.question_id,
        "db_id": example.db_id,
        "difficulty": example.difficulty,
        "gap": pair.gap,
        "correct": pair.chosen.correct,
    }


def split_databases(names: Sequence[str], share: float, seed: int) -> set[str]:
    """The databases held out: ``share`` of them, at least one where the share is above 0."""
    every = sorted(set(names))
    Random(seed).shuffle(every)
    return set(every[: max(round(share * len(every)), 1)] if share else ())


def _write(
    rows: list[dict[str, Any]], wanted: PairOptions | LessonOptions, kind: Format, options: TreeOptions
) -> dict[str, int]:
    if not rows:
        raise UserError(f"{options.path}: no {'pairs' if kind == 'ranking' else 'lessons'} in these trees")
    held_out = split_databases([row["db_id"] for row in rows], wanted.held_out, options.seed)
    counts = {}
    splits = ("train", "val")
    for split in splits:
        own = [row for row in rows if (row["db_id"] in held_out) == (split == "val")]
        counts[split] = write_jsonl(wanted.output_dir / file_of(kind, split), own)
    write_json(wanted.output_dir / "dataset_info.json", dataset_info(wanted.name, splits, [kind]))
    made_of = {"trees": digest(options.path), "options": wanted.__dict__, "seed": options.seed}
    write_note(wanted.output_dir / _NOTE, made_of, rows=counts, held_out=sorted(held_out))
    logger.info("%s: %d rows to train on, %d held out", wanted.output_dir, *counts.values())
    return counts
