"""Rows that teach the revision turn: a wrong query and what became of it in the prompt, the gold as the answer.

Wrong queries are the model's own, from trees, and golds with one small change, because own mistakes on questions that were
trained on are few.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from sqleval.files import database_path, read_columns
from sqleval.suite.mutate import neighbours
from text2sql.prompts import AnswerFormat, Message, ask, gold_answer, revise
from text2sql.records import Example
from text2sql.tree.execute import Judge
from text2sql.tree.nodes import Tree
from text2sql.tree.options import LessonOptions, TreeOptions

_MUTANTS_TRIED = 4  # for each that is wanted: many changes leave the result as it is


def lessons(trees: Sequence[Tree], options: TreeOptions, wanted: LessonOptions, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of messages in LLaMA-Factory's form, shuffled; ``db_id`` says which database each is about.

    Raises:
        UserError: a database is missing.
    """
    rng = Random(seed)
    rows = [_row(tree.example, sql, told, options) for tree in trees for sql, told in _own(tree, wanted.own)]
    rows += [_row(one, sql, told, options) for one, sql, told in _mutants(trees, options, wanted.mutants, rng)]
    examples = [tree.example for tree in trees]
    many = round(len(rows) * wanted.plain / (1 - wanted.plain)) if wanted.plain < 1 else len(examples)
    plain = rng.choices(examples, k=many) if many > len(examples) else rng.sample(examples, many)
    rows += [_answered(one, ask(one, options.answer_format, options.system_prompt), options) for one in plain]
    rng.shuffle(rows)
    return rows


def _own(tree: Tree, most: int) -> list[tuple[str, str]]:
    """The tree's first wrong queries, each once."""
    found = {node.sql: node.feedback for node in tree.nodes if not node.correct and node.sql}
    return list(found.items())[:most]


def _mutants(trees: Sequence[Tree], options: TreeOptions, most: int, rng: Random) -> Iterator[tuple[Example, str, str]]:
    """Golds with one change that is wrong by execution, up to ``most`` of a question, with their feedback."""
    if not most:
        return
    root = options.database_root
    columns = {db: read_columns(database_path(root, db)) for db in {tree.example.db_id for tree in trees}}
    tried = []
    for tree in trees:
        changed = neighbours(tree.example.sql, columns[tree.example.db_id])
        tried += [(tree.example, sql) for sql in rng.sample(changed, min(len(changed), _MUTANTS_TRIED * most))]
    taken: dict[str, int] = {}
    with Judge(root, options.protocol, options.jobs, options.timeout, options.feedback == "oracle") as judge:
        for (example, sql), judged in zip(tried, judge.judge(tried), strict=True):
            number = taken.get(example.question_id, 0)
            if not judged.correct and number < most:
                taken[example.question_id] = number + 1
                yield example, sql, judged.feedback


def _row(example: Example, sql: str, feedback: str, options: TreeOptions) -> dict[str, Any]:
    how: tuple[AnswerFormat, str | None] = (options.answer_format, options.system_prompt)
    return _answered(example, revise(example, sql, feedback, *how), options)


def _answered(example: Example, messages: list[Message], options: TreeOptions) -> dict[str, Any]:
    answer = {"role": "assistant", "content": gold_answer(example.sql, options.answer_format)}
    return {"messages": [*messages, answer], "db_id": example.db_id}
